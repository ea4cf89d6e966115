"""PTB-XL, sex of the patient."""

import numpy as np

from clef_jax.tasks import Example, Task


def _target(example: Example) -> np.ndarray:
    return np.array([example["male"]], np.float32)


TASK = Task(
    dataset="ptb_xl",
    kind="binary",
    outputs=("male",),
    target=_target,
    description="Sex of the patient in PTB-XL; 1 is male.",
)
