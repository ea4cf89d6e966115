"""Makes random streams that depend only on seed, patient, purpose and visit."""

from typing import Literal

import numpy as np

Purpose = Literal["patient", "visit", "hospital", "heart", "recording", "measurement", "defect"]

_PURPOSES: tuple[Purpose, ...] = (
    "patient",
    "visit",
    "hospital",
    "heart",
    "recording",
    "measurement",
    "defect",
)


def make(seed: int, patient: int, purpose: Purpose, visit: int = 0) -> np.random.Generator:
    """Returns a generator for one purpose of one patient's visit.

    Each purpose has its own stream, so a further sample for one purpose does not change another.
    """
    return np.random.default_rng([seed, patient, _PURPOSES.index(purpose), visit])
