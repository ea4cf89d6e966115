"""Linear probe: logistic regression for classes, ridge regression for numbers.

All outputs of a task are fitted together, so that a fit of a hundred thousand recordings with
dozens of labels takes seconds.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.special

from clef_jax.evaluation import blas, blocks
from clef_jax.evaluation.examples import Examples

STRENGTHS = (1.0, 0.1, 0.01, 1e-3)
"""Strengths of the penalty on the squared weights, per recording, in descending order. For a
thousand recordings they correspond to ecg-fix's C from 1e-3 to 1."""
_MAX_ITERATIONS = 200
_SMALLEST_SCALE = 1e-6
"""Smallest standard deviation of a feature, relative to its magnitude; a feature below it is
treated as constant, because its variation is rounding error."""


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A fitted linear head."""

    kind: str
    """Kind of the task."""
    centre: np.ndarray
    """Means of the training features, [D]."""
    scale: np.ndarray
    """Standard deviations of the training features, [D]."""
    weight: np.ndarray
    """Weights of the scaled features, [D, K]."""
    bias: np.ndarray
    """Biases of the outputs, [K]."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns the predictions of features [N, D]: float64 [N, K]; see `to_predictions`."""
        logits = (features - self.centre) / self.scale @ self.weight + self.bias
        return to_predictions(self.kind, logits)


def to_predictions(kind: str, logits: np.ndarray) -> np.ndarray:
    """Returns predictions [N, K]: probabilities of the classes, or values of a regression.

    Args:
        kind: Kind of the task.
        logits: Outputs of a linear head, [N, K].
    """
    if kind == "regression":
        return logits
    if kind == "multiclass":
        return scipy.special.softmax(logits, axis=1)
    return scipy.special.expit(logits)


def fit_all(
    kind: str, train: Examples, strengths: Sequence[float], widths: Sequence[int] = ()
) -> list[Linear]:
    """Returns a head for each strength of the penalty.

    Args:
        kind: Kind of the task.
        train: Training examples.
        strengths: Strengths of the penalty.
        widths: Number of features of each model, if the features are those of several models.
    """
    centre, scale = standardisation(train.features, widths)
    x = ((train.features - centre) / scale).astype(np.float32)
    y = train.target.astype(np.float64)
    solve = _ridge if kind == "regression" else _logistic
    solutions = solve(x, y, strengths, multiclass=kind == "multiclass")
    return [Linear(kind, centre, scale, weight, bias) for weight, bias in solutions]


def fit_unscaled(train: Examples, strength: float, max_iterations: int) -> Linear:
    """Returns a logistic regression for labels on features that are not standardised.

    Args:
        train: Training examples.
        strength: Strength of the penalty on the squared weights, per recording.
        max_iterations: Maximum number of iterations of the optimiser.
    """
    y = train.target.astype(np.float64)
    options = {"multiclass": False, "max_iterations": max_iterations}
    ((weight, bias),) = _logistic(train.features.astype(np.float32), y, [strength], **options)
    width = train.features.shape[1]
    return Linear("binary", np.zeros(width), np.ones(width), weight, bias)


def standardisation(
    features: np.ndarray, widths: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale, [D] each, by which features [N, D] are standardised.

    The scale is the standard deviation, and 1 for constant features. With several models, it also
    gives each model the same total variance.
    """
    centre = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    varies = spread > _SMALLEST_SCALE * (1 + np.abs(centre))
    return centre, np.where(varies, spread, 1.0) / blocks.factors(varies, widths)


Solutions = list[tuple[np.ndarray, np.ndarray]]
"""Weights [D, K] and biases [K] for each strength."""


def _ridge(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], *, multiclass: bool
) -> Solutions:
    """Minimises |y - x w - b|^2 / N + strength |w|^2 for all strengths with one decomposition."""
    del multiclass
    mean = y.mean(axis=0)
    gram = (x.T @ x).astype(np.float64) / len(x)
    moment = x.T.astype(np.float64) @ (y - mean) / len(x)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ moment
    damped = [rotated / (np.maximum(values, 0) + s)[:, None] for s in strengths]
    return [(vectors @ weight, mean) for weight in damped]


def _logistic(
    x: np.ndarray,
    y: np.ndarray,
    strengths: Sequence[float],
    *,
    multiclass: bool,
    max_iterations: int = _MAX_ITERATIONS,
) -> Solutions:
    """Minimises the mean cross entropy + strength |w|^2 / 2 for each strength.

    Each optimisation starts from the solution of the previous strength.
    """
    num_features, num_outputs = x.shape[1], y.shape[1]
    solutions = []
    frequency = np.clip(y.mean(axis=0), 1e-3, 1 - 1e-3)
    bias = np.log(frequency) if multiclass else scipy.special.logit(frequency)
    start = np.concatenate([np.zeros((num_features, num_outputs)), bias[None]])
    for strength in strengths:
        with blas.threads_for(x.size * num_outputs):
            result = scipy.optimize.minimize(
                _cross_entropy(x, y, strength, multiclass=multiclass),
                start.ravel(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": max_iterations},
            )
        start = result.x.reshape(num_features + 1, num_outputs)
        solutions.append((start[:-1].copy(), start[-1].copy()))
    return solutions


def _cross_entropy(
    x: np.ndarray, y: np.ndarray, strength: float, *, multiclass: bool
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Returns a function that maps flattened weights and biases to the loss, summed over outputs,
    and its gradient."""

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
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

    return loss_and_gradient
