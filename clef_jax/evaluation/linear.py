"""Linear probe: logistic regression for classes, ridge regression for numbers.

All outputs of a task are fitted at once, so that fitting a hundred thousand recordings with dozens
of labels takes seconds.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.special

from clef_jax.evaluation.examples import Examples

STRENGTHS = (1.0, 0.1, 0.01, 1e-3)
"""Strengths of the penalty on the squared weights, per recording, the strongest first. For a
thousand recordings these are ecg-fix's C from 1e-3 to 1."""
_MAX_ITERATIONS = 200
_SMALLEST_SCALE = 1e-6
"""A feature with a smaller deviation, relative to its size, is a constant with rounding errors."""


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A fitted linear map."""

    kind: str
    centre: np.ndarray
    """[D]."""
    scale: np.ndarray
    """[D]."""
    weight: np.ndarray
    """[D, K]."""
    bias: np.ndarray
    """[K]."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns probabilities of the classes, or values of the regression: float64 [N, K]."""
        logits = (features - self.centre) / self.scale @ self.weight + self.bias
        return to_predictions(self.kind, logits)


def to_predictions(kind: str, logits: np.ndarray) -> np.ndarray:
    """Returns the predictions [N, K] of a kind of task: probabilities, or values of a regression.

    Args:
        logits: [N, K], the outputs of a linear head.
    """
    if kind == "regression":
        return logits
    if kind == "multiclass":
        return scipy.special.softmax(logits, axis=1)
    return scipy.special.expit(logits)


def fit_all(kind: str, train: Examples, strengths: Sequence[float]) -> list[Linear]:
    """Returns a head for each strength of the penalty."""
    centre = train.features.mean(axis=0, dtype=np.float64)
    spread = train.features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > _SMALLEST_SCALE * (1 + np.abs(centre)), spread, 1.0)
    x = ((train.features - centre) / scale).astype(np.float32)
    y = train.target.astype(np.float64)
    solve = _ridge if kind == "regression" else _logistic
    solutions = solve(x, y, strengths, multiclass=kind == "multiclass")
    return [Linear(kind, centre, scale, weight, bias) for weight, bias in solutions]


Solutions = list[tuple[np.ndarray, np.ndarray]]
"""Weights [D, K] and biases [K] for each strength."""


def _ridge(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], *, multiclass: bool
) -> Solutions:
    """Minimises |y - x w - b|^2 / N + strength |w|^2 for all strengths from one decomposition."""
    del multiclass
    mean = y.mean(axis=0)
    gram = (x.T @ x).astype(np.float64) / len(x)
    moment = x.T.astype(np.float64) @ (y - mean) / len(x)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ moment
    damped = [rotated / (np.maximum(values, 0) + s)[:, None] for s in strengths]
    return [(vectors @ weight, mean) for weight in damped]


def _logistic(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], *, multiclass: bool
) -> Solutions:
    """Minimises the mean cross entropy + strength |w|^2 / 2.

    The solution for one strength is the start for the next.
    """
    num_features, num_outputs = x.shape[1], y.shape[1]
    solutions = []
    frequency = np.clip(y.mean(axis=0), 1e-3, 1 - 1e-3)
    bias = np.log(frequency) if multiclass else scipy.special.logit(frequency)
    start = np.concatenate([np.zeros((num_features, num_outputs)), bias[None]])
    for strength in strengths:
        result = scipy.optimize.minimize(
            _cross_entropy(x, y, strength, multiclass=multiclass),
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_ITERATIONS},
        )
        start = result.x.reshape(num_features + 1, num_outputs)
        solutions.append((start[:-1].copy(), start[-1].copy()))
    return solutions


def _cross_entropy(
    x: np.ndarray, y: np.ndarray, strength: float, *, multiclass: bool
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Returns a function from flat weights and biases to the loss, summed over outputs, and its
    gradient."""

    def at(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = flat.reshape(x.shape[1] + 1, y.shape[1])
        weight = parameters[:-1]
        logits = (x @ weight.astype(np.float32)).astype(np.float64) + parameters[-1]
        if multiclass:
            log_sum = np.asarray(scipy.special.logsumexp(logits, axis=1, keepdims=True))
            loss = (log_sum[:, 0] - (logits * y).sum(axis=1)).mean()
            slope = np.exp(logits - log_sum) - y
        else:
            loss = (np.logaddexp(0, logits) - logits * y).mean(axis=0).sum()
            slope = scipy.special.expit(logits) - y
        slope = (slope / len(x)).astype(np.float32)
        gradient = np.concatenate([x.T @ slope + strength * weight, slope.sum(axis=0)[None]])
        return loss + 0.5 * strength * (weight**2).sum(), gradient.ravel().astype(np.float64)

    return at
