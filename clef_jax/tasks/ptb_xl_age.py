"""PTB-XL, age at the recording."""

import numpy as np

from clef_jax.tasks import Example, Task

_MASKED_FROM_YEARS = 90
"""Stored ages from this value on are masks, which replace every age above 89."""


def _target(example: Example) -> np.ndarray:
    age = example["age_years"]
    return np.array([np.nan if age >= _MASKED_FROM_YEARS else age], np.float32)


TASK = Task(
    dataset="ptb_xl",
    kind="regression",
    outputs=("age_years",),
    target=_target,
    unit="years",
    description="Age of the patient in PTB-XL.",
    caveats=("Patients older than 89 years are excluded, because the publisher masks their age.",),
)
