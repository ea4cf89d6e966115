"""What probes are fitted to, and how patients are shared out among folds.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Recordings with features and answers."""

    features: np.ndarray
    """[N, D], finite."""
    target: np.ndarray
    """[N, K]: 0 and 1, one-hot for multiclass; values of a regression."""
    patient: np.ndarray
    """int [N]."""

    def at(self, chosen: np.ndarray) -> "Examples":
        return Examples(self.features[chosen], self.target[chosen], self.patient[chosen])

    def __len__(self) -> int:
        return len(self.target)


def folds(patient: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """int [N], the fold of each recording: a patient's are together, and folds are of one size."""
    return shuffled(patient, seed) % num_folds


def some(patient: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool [N]: the recordings of a share of the patients, at least two of them.

    Of one seed a smaller share is part of every larger one.
    """
    place = shuffled(patient, seed)
    wanted = max(2, round(share * (place.max() + 1))) if len(place) else 0
    return place < wanted


def shuffled(patient: np.ndarray, seed: int) -> np.ndarray:
    """int [N], the place of each recording's patient in a shuffled row of all patients."""
    _, number = np.unique(patient, return_inverse=True)
    if not len(number):
        return number
    return np.random.default_rng(seed).permutation(number.max() + 1)[number]
