"""Calibration: maps the logits of a head to probabilities that agree with observed fractions.

A calibration is fitted to logits of recordings that the head was not fitted to, for example those
of a cross-validation.

Shapes: N recordings, K outputs, M knots.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.special

from clef_jax.embedding.head import ISOTONIC, PLATT, TEMPERATURE, Calibration
from clef_jax.statistics import calibration as reliability_lib

ISOTONIC_PATIENTS = 200
"""Smallest number of patients with, and of patients without, each positive output at which
`choose` returns isotonic calibration; it overfits with fewer."""
PLATT_PATIENTS = 10
"""The same for Platt calibration, which has two parameters instead of one."""

_LARGEST_LOG_SLOPE = 6.0
"""Largest absolute logarithm of a slope; beyond, all probabilities are equal or are 0 or 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Quality:
    """How well probabilities agree with outcomes."""

    expected_error: np.ndarray
    """Expected calibration error of each output, [K]; see `statistics.calibration`."""
    brier: np.ndarray
    """Mean squared distance between probability and outcome for each output, [K]."""


def probabilities(
    kind: str, logits: np.ndarray, calibration: Calibration | None = None
) -> np.ndarray:
    """Returns probabilities, float64 [..., K], of logits [..., K].

    Args:
        kind: kind of the head: `multiclass`, whose probabilities sum to 1, or `binary` or
            `multilabel`, whose outputs are independent.
        calibration: by default the probabilities are those of the head alone.
    """
    logits = np.asarray(logits, np.float64)
    if calibration is not None and calibration.kind == ISOTONIC:
        return _interpolated(logits, calibration)
    if calibration is not None:
        assert calibration.slope is not None
        logits = calibration.slope * logits + calibration.intercept
    if kind == "multiclass":
        return np.asarray(scipy.special.softmax(logits, axis=-1))
    return np.asarray(scipy.special.expit(logits))


def _interpolated(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    assert calibration.knot_logits is not None
    assert calibration.knot_probabilities is not None
    knots = zip(calibration.knot_logits, calibration.knot_probabilities, strict=True)
    columns = [np.interp(logits[..., k], *pair) for k, pair in enumerate(knots)]
    return np.stack(columns, axis=-1)


def choose(kind: str, target: np.ndarray, patient: np.ndarray) -> str:
    """Returns the kind of calibration that the number of patients allows.

    A multiclass head gets a temperature. Other heads get isotonic calibration if every output has
    `ISOTONIC_PATIENTS` patients of either class, Platt calibration with `PLATT_PATIENTS`, and a
    temperature with fewer.

    Args:
        kind: kind of the head.
        target: outcomes, 0 or 1, [N, K].
        patient: number of each recording's patient, int [N].
    """
    if kind == "multiclass":
        return TEMPERATURE
    fewest = min(
        len(np.unique(patient[column == value])) for column in target.T for value in (0, 1)
    )
    if fewest >= ISOTONIC_PATIENTS:
        return ISOTONIC
    return PLATT if fewest >= PLATT_PATIENTS else TEMPERATURE


def fit(method: str, kind: str, logits: np.ndarray, target: np.ndarray) -> Calibration:
    """Returns the calibration that minimises the cross entropy (isotonic: the Brier score).

    Slopes are never negative, so that calibration does not reverse the order of recordings. The
    outcomes of Platt calibration are smoothed as Platt (1999) proposes, so that it is defined where
    a logit separates the classes.

    Args:
        method: `temperature`, `platt` or `isotonic`.
        kind: kind of the head; a multiclass one takes a temperature.
        logits: logits of recordings that the head was not fitted to, [N, K].
        target: outcomes, 0 or 1, [N, K]; one-hot if multiclass.

    Raises:
        ValueError: the method does not suit the kind.
    """
    logits, target = np.asarray(logits, np.float64), np.asarray(target, np.float64)
    if kind == "multiclass":
        if method != TEMPERATURE:
            raise ValueError(f"A multiclass head takes a temperature, not {method}.")
        slope = _temperature_slope(lambda s: _softmax_loss(s * logits, target))
        return Calibration(TEMPERATURE, np.full(logits.shape[1], slope), np.zeros(logits.shape[1]))
    columns = list(zip(logits.T, target.T, strict=True))
    if method == ISOTONIC:
        return _joined([_isotonic(*column) for column in columns])
    if method == PLATT:
        slope, intercept = np.array([_platt(*column) for column in columns]).T
        return Calibration(PLATT, slope, intercept)
    if method == TEMPERATURE:
        losses = [lambda s, x=x, y=y: _sigmoid_loss(s * x, y) for x, y in columns]
        slope = np.array([_temperature_slope(loss) for loss in losses])
        return Calibration(TEMPERATURE, slope, np.zeros(len(slope)))
    raise ValueError(f"Unknown calibration {method}.")


def cross_fitted(
    method: str, kind: str, logits: np.ndarray, target: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Returns calibrated probabilities [N, K], each fitted to the recordings of other folds.

    They show what the calibration does for patients that it was not fitted to.

    Args:
        method, kind, logits, target: as in `fit`.
        fold: fold of each recording, int [N]; all recordings of a patient are in one fold.
    """
    calibrated = np.full(logits.shape, np.nan)
    for number in np.unique(fold):
        held_out = fold == number
        others = fit(method, kind, logits[~held_out], target[~held_out])
        calibrated[held_out] = probabilities(kind, logits[held_out], others)
    return calibrated


def measure(target: np.ndarray, probability: np.ndarray) -> Quality:
    """Returns expected calibration error and Brier score of probabilities [N, K].

    Args:
        target: outcomes, 0 or 1, [N, K].
    """
    pairs = list(zip(target.T, probability.T, strict=True))
    return Quality(
        np.array([reliability_lib.reliability(*pair).expected_error for pair in pairs]),
        np.mean((np.asarray(probability) - target) ** 2, axis=0),
    )


def _temperature_slope(loss: Callable[[float], float]) -> float:
    """Returns the positive slope, 1 / T, at which a loss is the lowest."""
    from scipy import optimize  # takes a third of a second, which only fitting needs

    result = optimize.minimize_scalar(
        lambda log_slope: loss(float(np.exp(log_slope))),
        bounds=(-_LARGEST_LOG_SLOPE, _LARGEST_LOG_SLOPE),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(result.x))  # pyright: ignore[reportAttributeAccessIssue]


def _sigmoid_loss(logits: np.ndarray, target: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - logits * target).mean())


def _softmax_loss(logits: np.ndarray, target: np.ndarray) -> float:
    log_sum = np.asarray(scipy.special.logsumexp(logits, axis=1))
    return float((log_sum - (logits * target).sum(axis=1)).mean())


def _platt(logit: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Returns slope and intercept of one output."""
    from scipy import optimize  # takes a third of a second, which only fitting needs

    num_positive = target.sum()
    num_negative = len(target) - num_positive
    high, low = (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2)
    smoothed = np.where(target > 0, high, low)
    centre, spread = logit.mean(), logit.std() or 1.0
    scaled = (logit - centre) / spread

    def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * scaled + parameters[1]
        residual = scipy.special.expit(logits) - smoothed
        gradient = np.array([(residual * scaled).mean(), residual.mean()])
        return _sigmoid_loss(logits, smoothed), gradient

    start = np.array([1.0, scipy.special.logit(smoothed.mean())])
    result = optimize.minimize(
        loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    slope = result.x[0] / spread
    return float(slope), float(result.x[1] - slope * centre)


def _isotonic(logit: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and probabilities of the knots of one output.

    Each level of the isotonic regression has a knot at either end. Probabilities stay off 0 and 1
    by what one more recording of the other class would change.
    """
    from scipy import optimize  # takes a third of a second, which only fitting needs

    values, number = np.unique(logit, return_inverse=True)
    weight = np.bincount(number)
    mean = np.bincount(number, target) / weight
    level = np.asarray(optimize.isotonic_regression(mean, weights=weight).x)
    least = 1 / (len(logit) + 2)
    first = np.flatnonzero(np.diff(level, prepend=-1.0))
    last = np.append(first[1:] - 1, len(level) - 1)
    kept = np.unique(np.concatenate([first, last]))
    return values[kept], np.clip(level[kept], least, 1 - least)


def _joined(knots: list[tuple[np.ndarray, np.ndarray]]) -> Calibration:
    """Returns the isotonic calibration of several outputs, whose last knots may be repeated."""
    most = max(len(values) for values, _ in knots)
    padded = [
        [np.pad(array, (0, most - len(array)), mode="edge") for array in pair] for pair in knots
    ]
    logits, probability = (np.stack(arrays) for arrays in zip(*padded, strict=True))
    return Calibration(ISOTONIC, knot_logits=logits, knot_probabilities=probability)
