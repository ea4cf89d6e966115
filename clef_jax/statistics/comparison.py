"""Paired significance tests between two models.

Shapes: N recordings, R resamples, P p-values.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from clef_jax.statistics.bootstrap import Interval, interval, patient_weights


@dataclasses.dataclass(frozen=True)
class Difference:
    """Score of the first model minus that of the second, on the same recordings."""

    value: float
    interval: Interval
    p_value: float
    """Two-sided, of the permutation test."""


def paired(
    score_of: Callable[..., np.ndarray],
    target: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patient: np.ndarray,
    *,
    num_resamples: int = 1000,
    num_permutations: int = 1000,
    seed: int = 0,
) -> Difference:
    """Compares two predictions for the same recordings.

    The interval resamples patients. The p-value swaps the two models' predictions for whole
    patients at random, which changes nothing if neither is better; the observed difference counts
    as one of the permutations (Phipson and Smyth 2010), so that the p-value is never zero.

    Args:
        score_of: of (target, prediction, weight), as in `classification` and `regression`.
        first, second: [N] or [N, K], on a common scale.
        num_permutations: the p-value is at least 1 / (num_permutations + 1).
    """
    observed = float(score_of(target, first) - score_of(target, second))
    weight = patient_weights(patient, num_resamples, seed)
    spread = score_of(target, first, weight) - score_of(target, second, weight)
    _, number = np.unique(patient, return_inverse=True)
    # Stack both predictions and select by 0/1 weights: one sort for all permutations.
    target, both = np.concatenate([target, target]), np.concatenate([first, second])
    rng = np.random.default_rng([seed, 1])
    swapped = rng.random((num_permutations, number.max() + 1)) < 0.5
    swap = swapped[:, number]
    one = np.concatenate([~swap, swap], axis=1).astype(np.uint8)
    difference = score_of(target, both, one) - score_of(target, both, 1 - one)
    # Rounding must not make an equal difference a smaller one.
    extreme = int((np.abs(difference) >= abs(observed) - 1e-12).sum())
    p_value = (extreme + 1) / (num_permutations + 1)
    return Difference(observed, interval(spread, int(number.max()) + 1), p_value)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusts P p-values for being that many (Holm 1979): float64 [P], in the given order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
