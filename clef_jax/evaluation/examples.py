"""Examples that probes are fitted to, and how patients are divided into folds or sampled.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Recordings with features and targets."""

    features: np.ndarray
    """[N, D], finite."""
    target: np.ndarray
    """[N, K]: 0 and 1, one-hot for multiclass; values of a regression."""
    patient: np.ndarray
    """int [N]."""

    def at(self, chosen: np.ndarray) -> "Examples":
        """Returns the examples of a mask or of positions."""
        return Examples(self.features[chosen], self.target[chosen], self.patient[chosen])

    def __len__(self) -> int:
        return len(self.target)


def folds(patient: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each recording, int [N].

    All recordings of a patient are in one fold, and folds have the same number of patients, or
    nearly so.
    """
    return _random_order(patient, seed) % num_folds


def sample_patients(patient: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Returns a mask, bool [N], of the recordings of a fraction of the patients, at least two.

    With the same seed, a smaller fraction's patients are a subset of a larger one's.
    """
    order = _random_order(patient, seed)
    num_patients = max(2, round(fraction * (order.max() + 1))) if len(order) else 0
    return order < num_patients


def _random_order(patient: np.ndarray, seed: int) -> np.ndarray:
    """Returns for each recording the position of its patient in a random order: int [N]."""
    _, number = np.unique(patient, return_inverse=True)
    if not len(number):
        return number
    return np.random.default_rng(seed).permutation(number.max() + 1)[number]
