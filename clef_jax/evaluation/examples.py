"""Examples for probes, and the division of their patients into folds or random samples.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Recordings with features and targets."""

    features: np.ndarray
    """Features, [N, D]; all are finite."""
    target: np.ndarray
    """Targets, [N, K]: one-hot if multiclass, 0 or 1 in other classifications, else numbers."""
    patient: np.ndarray
    """Number of each recording's patient, int [N]."""

    def at(self, selected: np.ndarray) -> "Examples":
        """Returns the examples that a mask or an array of positions selects."""
        return Examples(self.features[selected], self.target[selected], self.patient[selected])

    def __len__(self) -> int:
        return len(self.target)


def folds(patient: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each recording, int [N].

    All recordings of a patient are in one fold. The numbers of patients in the folds differ by at
    most one.
    """
    return _random_order(patient, seed) % num_folds


def sample_patients(patient: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Returns a mask, bool [N], of the recordings of a random fraction of the patients.

    At least two patients are sampled. With the same seed, a smaller fraction's patients are a
    subset of a larger one's.
    """
    order = _random_order(patient, seed)
    num_patients = max(2, round(fraction * (order.max() + 1))) if len(order) else 0
    return order < num_patients


def _random_order(patient: np.ndarray, seed: int) -> np.ndarray:
    """Returns the position of each recording's patient in a random order, int [N]."""
    _, number = np.unique(patient, return_inverse=True)
    if not len(number):
        return number
    return np.random.default_rng(seed).permutation(number.max() + 1)[number]
