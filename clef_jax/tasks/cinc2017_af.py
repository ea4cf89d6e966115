"""CinC Challenge 2017, atrial fibrillation (Clifford et al., doi:10.22489/CinC.2017.065-469)."""

import numpy as np

from clef_jax.tasks import Example, Task, _cinc2017, text

_VALUES = {"A": 1.0, "N": 0.0, "O": 0.0}
"""Target by rhythm; `~` (too noisy) is excluded."""


def _target(example: Example) -> np.ndarray:
    return np.array([_VALUES.get(text(example["rhythm"]), np.nan)], np.float32)


TASK = Task(
    dataset="cinc2017",
    kind="binary",
    outputs=("af",),
    target=_target,
    description="Atrial fibrillation in a hand-held recording, compared with all other rhythms.",
    caveats=(
        *_cinc2017.CAVEATS,
        "Recordings labelled as too noisy are excluded; they do not count as negatives.",
    ),
)
