"""Scores of predicted numbers.

Shapes: N recordings, R resamples.
"""

from typing import NamedTuple

import numpy as np

from clef_jax.statistics.classification import weighted_mean


def mae(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean absolute error of predictions.

    Args:
        target: Measured values, [N].
        value: Predicted values, [N].
        weight: How often each recording is in each resample, [R, N]; by default, the score is that
            of the N recordings themselves.

    Returns:
        The score of each resample, [R], or a scalar without weights.
    """
    return weighted_mean(np.abs(np.asarray(value, float) - target), weight)


def rmse(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the root of the mean squared error; arguments and shapes are as in `mae`."""
    return np.sqrt(weighted_mean((np.asarray(value, float) - target) ** 2, weight))


def r2(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the explained fraction of the target's variance in each resample.

    It is NaN where the target is constant. Arguments and shapes are as in `mae`.
    """
    target = np.asarray(target, float)
    centred = target - target.mean()  # keeps the next line from cancelling digits
    spread = weighted_mean(centred**2, weight) - weighted_mean(centred, weight) ** 2
    error = weighted_mean((np.asarray(value, float) - target) ** 2, weight)
    varies = spread > 1e-12 * max(float((centred**2).mean()), 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varies, 1 - error / spread, np.nan)[()]


class Agreement(NamedTuple):
    """Agreement of predictions with measurements (Bland and Altman 1986)."""

    bias: np.ndarray
    """Mean of prediction minus measurement."""
    low: np.ndarray
    """Lower limit of agreement: bias - 1.96 standard deviations of the differences, with N - 1 in
    the denominator of the variance; NaN for a single recording."""
    high: np.ndarray
    """Upper limit of agreement: bias + 1.96 standard deviations."""


def bland_altman(
    target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None
) -> Agreement:
    """Returns bias and limits of agreement of predictions with measurements.

    Arguments and shapes are as in `mae`.
    """
    difference = np.asarray(value, float) - np.asarray(target, float)
    bias = weighted_mean(difference, weight)
    centred = difference - difference.mean()  # keeps the next line from cancelling digits
    variance = weighted_mean(centred**2, weight) - weighted_mean(centred, weight) ** 2
    count = np.asarray(len(difference) if weight is None else weight.sum(axis=1), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = 1.96 * np.sqrt(np.maximum(variance, 0) * (count / (count - 1)))
    return Agreement(bias, bias - spread, bias + spread)
