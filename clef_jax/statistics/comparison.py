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

    The interval comes from resampled patients. The p-value comes from swapping the two models'
    predictions for whole patients at random, which changes nothing on average if neither model is
    better; the observed difference counts as one of the permutations (Phipson and Smyth 2010), so
    that the p-value is never zero.

    Args:
        score_of: Score of (target, prediction, weight), as in `classification` and `regression`.
        target: [N] or [N, K].
        first, second: Predictions of the two models, [N] or [N, K], on a common scale.
        patient: Identifiers of the recordings' patients, [N].
        num_resamples: Number of resamples for the interval.
        num_permutations: Number of permutations; the p-value is at least
            1 / (num_permutations + 1).
        seed: Seed of resamples and permutations.
    """
    observed = float(score_of(target, first) - score_of(target, second))
    weight = patient_weights(patient, num_resamples, seed)
    resampled = score_of(target, first, weight) - score_of(target, second, weight)
    _, number = np.unique(patient, return_inverse=True)
    # Stack both predictions and select by 0/1 weights: one sort for all permutations.
    target, both = np.concatenate([target, target]), np.concatenate([first, second])
    rng = np.random.default_rng([seed, 1])
    swapped = rng.random((num_permutations, number.max() + 1)) < 0.5
    swap = swapped[:, number]
    selected = np.concatenate([~swap, swap], axis=1).astype(np.uint8)
    permuted = score_of(target, both, selected) - score_of(target, both, 1 - selected)
    # A difference that equals the observed one but for rounding counts as extreme.
    extreme = int((np.abs(permuted) >= abs(observed) - 1e-12).sum())
    p_value = (extreme + 1) / (num_permutations + 1)
    return Difference(observed, interval(resampled, int(number.max()) + 1), p_value)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Returns P p-values adjusted for multiple tests (Holm 1979): float64 [P], in given order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
