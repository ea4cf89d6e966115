"""Scores of predicted numbers.

Shapes: N recordings, R resamples.
"""

from typing import NamedTuple

import numpy as np

from clef_jax.statistics.classification import weighted_mean


def mae(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute error of value [N]: [R], or a scalar without weights [R, N]."""
    return weighted_mean(np.abs(np.asarray(value, float) - target), weight)


def rmse(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean squared error; arguments as of `mae`."""
    return np.sqrt(weighted_mean((np.asarray(value, float) - target) ** 2, weight))


def r2(target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Share of the variance that is explained, against the mean of each resample; NaN where the
    target does not vary. Arguments as of `mae`."""
    target = np.asarray(target, float)
    centred = target - target.mean()  # keeps digits
    spread = weighted_mean(centred**2, weight) - weighted_mean(centred, weight) ** 2
    error = weighted_mean((np.asarray(value, float) - target) ** 2, weight)
    varies = spread > 1e-12 * max(float((centred**2).mean()), 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varies, 1 - error / spread, np.nan)[()]


class Agreement(NamedTuple):
    """Bland and Altman 1986: how far predictions lie from measurements."""

    bias: np.ndarray
    """Mean of the differences."""
    low: np.ndarray
    high: np.ndarray
    """Limits of agreement: bias -+ 1.96 standard deviations of the differences, those of a sample
    (with N - 1 in the denominator); NaN for a single recording."""


def bland_altman(
    target: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None
) -> Agreement:
    """Returns bias and limits of agreement of value [N] against target [N].

    Args:
        weight: [R, N], how often each recording is in each resample.

    Returns:
        Arrays [R], or scalars without weights.
    """
    difference = np.asarray(value, float) - np.asarray(target, float)
    bias = weighted_mean(difference, weight)
    centred = difference - difference.mean()  # keeps digits
    variance = weighted_mean(centred**2, weight) - weighted_mean(centred, weight) ** 2
    count = np.asarray(len(difference) if weight is None else weight.sum(axis=1), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = 1.96 * np.sqrt(np.maximum(variance, 0) * (count / (count - 1)))
    return Agreement(bias, bias - spread, bias + spread)
