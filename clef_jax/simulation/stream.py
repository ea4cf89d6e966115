"""Random streams that depend on nothing but the seed, the patient and the purpose."""

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
    """A generator for one purpose of one patient's visit.

    Purposes have streams of their own, so that one more draw in one of them moves no other.
    """
    return np.random.default_rng([seed, patient, _PURPOSES.index(purpose), visit])
