"""Scores of classifiers: one class against the rest, or one of several classes.

A score that compares classes is NaN where only one of them occurs, and where a target or a score of
a recording is NaN; it is never the 1 or 0.5 that its formula would give.

Shapes: N recordings, R resamples, r resamples of a chunk, K classes.
"""

from collections.abc import Callable, Sequence

import numpy as np

_CHUNK_VALUES = 1 << 24
"""Largest number of weights that are processed at a time."""

Score = Callable[..., np.ndarray]
"""Maps target [N], score [N] and weight [R, N] to [R]; NaN where it is not defined."""


def auroc(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the area under the ROC curve; equal scores count half (Hanley and McNeil 1982).

    Args:
        target: Outcomes, 0 or 1, [N].
        score: Predictions, [N]; higher means more likely 1.
        weight: How often each recording is in each resample, [R, N]; by default, the score is that
            of the N recordings themselves.

    Returns:
        The score of each resample, float64 [R], or a scalar without weights; NaN where a class is
        absent, and everywhere if a score is NaN or a target is neither 0 nor 1.
    """
    return _by_threshold(target, score, weight, _area)


def auprc(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the average precision: the mean of the precision at each threshold, weighted by the
    recall that the threshold adds; NaN where a class is absent. Shapes are as in `auroc`."""
    return _by_threshold(target, score, weight, _average_precision)


def _by_threshold(
    target: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray | None,
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Computes a score from the positives and negatives at each threshold.

    Args:
        value: Maps positives and negatives at each threshold in descending order, both
            [r, thresholds], to the score, [r].
    """
    target, score = np.asarray(target, float), np.asarray(score, float)
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    # Equal scores share a threshold.
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positive = target[order] == 1

    def compute(weights: np.ndarray) -> np.ndarray:
        sorted_weight = weights[:, order].astype(np.float64)
        positives = np.add.reduceat(sorted_weight * positive, first, axis=1)
        total = np.add.reduceat(sorted_weight, first, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return value(positives, total - positives)

    defined = _all_known(target, score) and np.isin(target, (0, 1)).all()
    return _in_chunks(compute, weight, len(score), defined=bool(defined))


def _all_known(*arrays: np.ndarray) -> bool:
    """Returns whether no value is NaN. Comparisons with NaN are false, so it would get a rank."""
    return not any(np.isnan(array).any() for array in arrays)


def _in_chunks(
    compute: Callable[[np.ndarray], np.ndarray],
    weight: np.ndarray | None,
    num: int,
    *,
    defined: bool = True,
) -> np.ndarray:
    """Applies a function of weights [r, N] to all resamples in bounded memory.

    The result is NaN if the score is not defined, or if there are no recordings.
    """
    if not defined or not num:
        return np.full(1 if weight is None else len(weight), np.nan)[0 if weight is None else ...]
    if weight is None:
        return compute(np.ones((1, num)))[0]
    rows = max(1, _CHUNK_VALUES // max(num, 1))
    return np.concatenate([compute(weight[r : r + rows]) for r in range(0, len(weight), rows)])


def _area(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Returns the fraction of pairs of a positive and a negative that are in the right order."""
    above = np.cumsum(positives, axis=1) - positives
    right = (negatives * (above + 0.5 * positives)).sum(axis=1)
    return right / (positives.sum(axis=1) * negatives.sum(axis=1))


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    true_positives = np.cumsum(positives, axis=1)
    selected = true_positives + np.cumsum(negatives, axis=1)
    precision = np.where(selected > 0, true_positives / np.maximum(selected, 1e-300), 0.0)
    mean = (positives * precision).sum(axis=1) / positives.sum(axis=1)
    return np.where(negatives.any(axis=1), mean, np.nan)


def brier(target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean squared difference of probability and outcome (Brier 1950).

    Arguments and shapes are as in `auroc`.
    """
    return weighted_mean((np.asarray(score, float) - np.asarray(target, float)) ** 2, weight)


def weighted_mean(value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean of value [N] in each resample: [R], or a scalar without weights."""
    return _in_chunks(lambda w: (w @ value) / w.sum(axis=1), weight, len(value))


def balanced_accuracy(
    target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Returns the mean recall of the classes, predicting the class of the highest score.

    Args:
        target: One-hot classes, [N, K].
        score: Predictions, [N, K].
        weight: As in `auroc`.

    Returns:
        The score of each resample, [R], or a scalar without weights. The mean is over the classes
        that occur in the resample; it is NaN if only one class occurs.
    """
    member, score = np.asarray(target, float), np.asarray(score, float)
    right = (np.argmax(score, axis=1) == np.argmax(member, axis=1)).astype(float)

    def compute(weights: np.ndarray) -> np.ndarray:
        total = weights @ member  # [r, K]
        hits = weights @ (member * right[:, None])
        occurs = total > 0
        recall = np.divide(hits, total, out=np.zeros_like(total), where=occurs)
        count = occurs.sum(axis=1)
        return np.where(count > 1, recall.sum(axis=1) / np.maximum(count, 1), np.nan)

    return _in_chunks(compute, weight, len(right), defined=_all_known(member, score))


def f1(target: np.ndarray, decision: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns F1, the harmonic mean of precision and recall; NaN where a class is absent.

    Args:
        target: Outcomes, 0 or 1, [N].
        decision: Predicted outcomes, 0 or 1, [N].
        weight: As in `auroc`.

    Returns:
        As in `auroc`.
    """
    positive, selected = np.asarray(target, float), np.asarray(decision, float)
    hit = positive * selected

    def compute(weights: np.ndarray) -> np.ndarray:
        positives = weights @ positive
        both = (positives > 0) & (positives < weights.sum(axis=1))
        total = positives + weights @ selected
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(both, 2 * (weights @ hit) / total, np.nan)

    return _in_chunks(compute, weight, len(hit), defined=_all_known(positive, selected))


def best_f1_threshold(target: np.ndarray, score: np.ndarray) -> float:
    """Returns the threshold with the largest F1 if scores [N] that reach it count as positive.

    It is 0.5 if there are no positives, or if a score is NaN.
    """
    order = np.argsort(-np.asarray(score, float), kind="stable")
    ordered, positive = np.asarray(score, float)[order], np.asarray(target, float)[order]
    if not positive.any() or not _all_known(ordered):
        return 0.5
    value = 2 * np.cumsum(positive) / (np.arange(1, len(ordered) + 1) + positive.sum())
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores share a threshold
    return float(ordered[np.argmax(np.where(last, value, -1.0))])


def mean_over_classes(
    score_of: Score, target: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Returns the macro average of a score over the columns of target and score [N, K].

    Columns of target that lack one of the outcomes are excluded; see `has_both_classes`. The result
    is [R], or a scalar without weights, and NaN if no column is left or a score is NaN.
    """
    columns = np.flatnonzero(has_both_classes(target))
    if not len(columns) or not _all_known(target, score):
        return np.full(1 if weight is None else len(weight), np.nan)[0 if weight is None else ...]
    return mean_of_defined([score_of(target[:, k], score[:, k], weight) for k in columns])


def mean_of_defined(values: Sequence[np.ndarray] | Sequence[float]) -> np.ndarray:
    """Returns the mean of those of K scores, each a number or [R], that are defined; else NaN."""
    stacked = np.asarray(values, float)
    defined = np.isfinite(stacked)
    total = np.where(defined, stacked, 0).sum(axis=0)
    return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def has_both_classes(target: np.ndarray) -> np.ndarray:
    """Returns a mask, bool [K], of the columns of target [N, K] that hold both outcomes."""
    return (target == 1).any(axis=0) & (target == 0).any(axis=0)
