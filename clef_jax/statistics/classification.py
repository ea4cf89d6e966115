"""Scores of predictions for one class against the rest, and of predictions among several.

Shapes: N recordings, R resamples, K classes.
"""

from collections.abc import Callable, Sequence

import numpy as np

_CHUNK_VALUES = 1 << 24
"""Values of weights that are worked on at a time."""

Score = Callable[..., np.ndarray]
"""Maps target [N], score [N] and weight [R, N] to [R]; NaN where it is not defined."""


def auroc(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve; equal scores count half (Hanley and McNeil 1982).

    Args:
        target: [N], 0 or 1.
        score: [N], higher means more likely 1.
        weight: [R, N], how often each recording is in a resample; once each by default.

    Returns:
        float64 [R], or a scalar without weights; NaN where a class is absent.
    """
    return _by_threshold(target, score, weight, _area)


def auprc(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Average precision: the mean of the precision at each threshold, weighted by the recall that
    the threshold adds. Arguments and result as of `auroc`; NaN where nothing is positive."""
    return _by_threshold(target, score, weight, _average_precision)


def _by_threshold(
    target: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray | None,
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    target, score = np.asarray(target, float), np.asarray(score, float)
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    # Equal scores share a threshold.
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positive = target[order] == 1

    def at(weights: np.ndarray) -> np.ndarray:
        sorted_weight = weights[:, order].astype(np.float64)
        hits = np.add.reduceat(sorted_weight * positive, first, axis=1)
        total = np.add.reduceat(sorted_weight, first, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return value(hits, total - hits)

    return _in_chunks(at, weight, len(score))


def _in_chunks(
    at: Callable[[np.ndarray], np.ndarray], weight: np.ndarray | None, num: int
) -> np.ndarray:
    """Applies a function of weights [r, N] to all resamples in bounded memory."""
    if weight is None:
        return at(np.ones((1, num)))[0]
    rows = max(1, _CHUNK_VALUES // max(num, 1))
    return np.concatenate([at(weight[r : r + rows]) for r in range(0, len(weight), rows)])


def _area(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """From positives and negatives at each threshold, the highest first: [r, thresholds]."""
    above = np.cumsum(hits, axis=1) - hits
    beaten = (misses * (above + 0.5 * hits)).sum(axis=1)
    return beaten / (hits.sum(axis=1) * misses.sum(axis=1))


def _average_precision(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    found = np.cumsum(hits, axis=1)
    told = found + np.cumsum(misses, axis=1)
    precision = np.where(told > 0, found / np.maximum(told, 1e-300), 0.0)
    return (hits * precision).sum(axis=1) / hits.sum(axis=1)


def brier(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean squared difference of probability and outcome (Brier 1950); arguments as of `auroc`."""
    return weighted_mean((np.asarray(score, float) - np.asarray(target, float)) ** 2, weight)


def weighted_mean(value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The mean of value [N] in each resample: [R], or a scalar without weights."""
    return _in_chunks(lambda w: (w @ value) / w.sum(axis=1), weight, len(value))


def balanced_accuracy(
    target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """The mean over classes of how often the most likely class is right.

    Args:
        target: [N, K], one-hot.
        score: [N, K].
        weight: as of `auroc`.

    Returns:
        [R], or a scalar; the mean is over the classes that occur in a resample.
    """
    right = (np.argmax(score, axis=1) == np.argmax(target, axis=1)).astype(float)
    member = np.asarray(target, float)

    def at(weights: np.ndarray) -> np.ndarray:
        total = weights @ member  # [r, K]
        hits = weights @ (member * right[:, None])
        share = np.divide(hits, total, out=np.full_like(total, np.nan), where=total > 0)
        return np.nanmean(share, axis=1)

    return _in_chunks(at, weight, len(right))


def f1(target: np.ndarray, decided: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """F1, the harmonic mean of precision and recall, of decisions [N]; NaN without positives.

    Other arguments and the result as of `auroc`.
    """
    positive, told = np.asarray(target, float), np.asarray(decided, float)
    hit = positive * told

    def at(weights: np.ndarray) -> np.ndarray:
        total = weights @ positive + weights @ told
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(weights @ positive > 0, 2 * (weights @ hit) / total, np.nan)

    return _in_chunks(at, weight, len(hit))


def best_f1_threshold(target: np.ndarray, score: np.ndarray) -> float:
    """The score [N] from which to call 1 so that F1 is largest; 0.5 where nothing is positive."""
    order = np.argsort(-np.asarray(score, float), kind="stable")
    ordered, positive = np.asarray(score, float)[order], np.asarray(target, float)[order]
    if not positive.any():
        return 0.5
    value = 2 * np.cumsum(positive) / (np.arange(1, len(ordered) + 1) + positive.sum())
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are called alike
    return float(ordered[np.argmax(np.where(last, value, -1.0))])


def mean_over_classes(
    score_of: Score, target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """The macro average of a score over the columns of target and score [N, K].

    Columns without both outcomes among the N are excluded; find them with `has_both_classes`.
    """
    columns = np.flatnonzero(has_both_classes(target))
    if not len(columns):
        return np.full(1 if weight is None else len(weight), np.nan)[0 if weight is None else ...]
    return mean_of_defined([score_of(target[:, k], score[:, k], weight) for k in columns])


def mean_of_defined(values: Sequence[np.ndarray] | Sequence[float]) -> np.ndarray:
    """The mean of K scores, each a number or [R], over those that are defined; NaN without any."""
    stacked = np.asarray(values, float)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def has_both_classes(target: np.ndarray) -> np.ndarray:
    """Returns a mask, bool [K], of the columns of target [N, K] that hold both outcomes."""
    return (target == 1).any(axis=0) & (target == 0).any(axis=0)
