"""PTB-XL, atrial fibrillation or flutter compared with all other rhythms."""

import numpy as np

from clef_jax.tasks import Example, Task, texts

_AF = {"AFIB", "AFLT"}


def _target(example: Example) -> np.ndarray:
    rhythm = texts(example["rhythm"])
    target = float(not _AF.isdisjoint(rhythm)) if rhythm else np.nan
    return np.array([target], np.float32)


TASK = Task(
    dataset="ptb_xl",
    kind="binary",
    outputs=("af",),
    target=_target,
    description="Atrial fibrillation or flutter in PTB-XL, compared with all other rhythms.",
    caveats=("Recordings without any statement about the rhythm are excluded.",),
)
