"""Linear probes on frozen features: logistic regression for classes, ridge for numbers.

All outputs of a task are fitted at once, so that a hundred thousand recordings and dozens of labels
take seconds. The strength of the penalty is chosen on validation data only, or, where there is
none, by cross-validation within the training patients.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy.optimize
import scipy.special

from clef_jax.errors import UserError

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
STRENGTHS = (1.0, 0.1, 0.01, 1e-3)
"""Of the penalty on the squared weights, per recording; strongest first. In ecg-fix' terms, C from
1e-3 to 1 for a thousand recordings."""
NUM_FOLDS = 3
_MAX_ITERATIONS = 200
_SMALLEST_SCALE = 1e-6
"""A feature that varies less, relative to its size, is a constant that rounding moves."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A fitted linear map."""

    kind: Kind
    centre: np.ndarray
    """[D]."""
    scale: np.ndarray
    """[D]."""
    weight: np.ndarray
    """[D, K]."""
    bias: np.ndarray
    """[K]."""
    strength: np.ndarray
    """[K], the penalty that was chosen for each output."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 [N, K]: probabilities of the classes, or values of the regression."""
        linear = (features - self.centre) / self.scale @ self.weight + self.bias
        if self.kind == "regression":
            return linear
        if self.kind == "multiclass":
            return scipy.special.softmax(linear, axis=1)
        return scipy.special.expit(linear)


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """What a probe is fitted to."""

    features: np.ndarray
    """[N, D], finite."""
    target: np.ndarray
    """[N, K]: 0 and 1, one-hot for multiclass; values of a regression."""
    patient: np.ndarray
    """int [N]."""

    def at(self, chosen: np.ndarray) -> "Examples":
        return Examples(self.features[chosen], self.target[chosen], self.patient[chosen])

    def __len__(self) -> int:
        return len(self.target)


def fit(
    kind: Kind,
    train: Examples,
    validation: Examples | None = None,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Probe:
    """A probe fitted to `train`, its penalties chosen on `validation`.

    Raises:
        UserError: there is nothing to fit, or only one class of everything.
    """
    _check(kind, train)
    probes = _fit_all(kind, train, strengths)
    if validation is None or not _tells(validation):
        loss = _cross_validated(kind, train, strengths, seed)
    else:
        loss = np.array([_loss(kind, probe, validation) for probe in probes])  # [strengths, K]
    return _take_best(probes, np.asarray(strengths), loss)


def _check(kind: Kind, train: Examples) -> None:
    if not len(train):
        raise UserError("No training recording has a target and usable features.")
    varies = (train.target != train.target[:1]).any(axis=0)
    if not varies.any():
        what = "value" if kind == "regression" else "class"
        raise UserError(
            f"All {len(train)} training recordings are of one {what}, so there is nothing to learn."
        )


def _tells(validation: Examples) -> bool:
    """Whether a validation set can tell penalties apart."""
    return len(validation) > 1 and bool((validation.target != validation.target[:1]).any())


def _cross_validated(
    kind: Kind, train: Examples, strengths: Sequence[float], seed: int
) -> np.ndarray:
    """[strengths, K], the mean loss over folds of whole patients."""
    fold = folds(train.patient, NUM_FOLDS, seed)
    total = np.zeros((len(strengths), train.target.shape[1]))
    for number in np.unique(fold):
        inner, held = train.at(fold != number), train.at(fold == number)
        if not len(inner) or (inner.target == inner.target[:1]).all():
            continue
        probes = _fit_all(kind, inner, strengths)
        total += [len(held) * _loss(kind, probe, held) for probe in probes]
    return total


def folds(patient: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """int [N], the fold of each recording: a patient's are together, and folds are of one size."""
    _, number = np.unique(patient, return_inverse=True)
    order = np.random.default_rng(seed).permutation(number.max() + 1)
    return (order % num_folds)[number]


def _take_best(probes: list[Probe], strengths: np.ndarray, loss: np.ndarray) -> Probe:
    """For each output the probe with the lowest loss; one for all classes of a multiclass task."""
    if probes[0].kind == "multiclass":
        loss = np.repeat(loss.sum(axis=1, keepdims=True), loss.shape[1], axis=1)
    best, output = np.argmin(loss, axis=0), np.arange(loss.shape[1])
    return dataclasses.replace(
        probes[0],
        weight=np.stack([probe.weight for probe in probes])[best, :, output].T,
        bias=np.stack([probe.bias for probe in probes])[best, output],
        strength=strengths[best],
    )


def _loss(kind: Kind, probe: Probe, examples: Examples) -> np.ndarray:
    """[K], mean squared error or cross entropy of each output."""
    predicted, target = probe(examples.features), examples.target
    if kind == "regression":
        return ((predicted - target) ** 2).mean(axis=0)
    probability = np.clip(predicted, 1e-12, 1 - 1e-12)
    surprise = -target * np.log(probability)
    if kind != "multiclass":
        surprise -= (1 - target) * np.log(1 - probability)
    return surprise.mean(axis=0)


def _fit_all(kind: Kind, train: Examples, strengths: Sequence[float]) -> list[Probe]:
    """One probe for each strength."""
    centre = train.features.mean(axis=0, dtype=np.float64)
    spread = train.features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > _SMALLEST_SCALE * (1 + np.abs(centre)), spread, 1.0)
    x = ((train.features - centre) / scale).astype(np.float32)
    y = train.target.astype(np.float64)
    solve = _ridge if kind == "regression" else _logistic
    solutions = solve(x, y, strengths, multiclass=kind == "multiclass")
    return [
        Probe(kind, centre, scale, weight, bias, np.full(y.shape[1], strength))
        for (weight, bias), strength in zip(solutions, strengths, strict=True)
    ]


Solutions = list[tuple[np.ndarray, np.ndarray]]


def _ridge(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], *, multiclass: bool
) -> Solutions:
    """Minimises |y - x w - b|^2 / N + strength |w|^2 for all strengths from one decomposition."""
    del multiclass
    middle = y.mean(axis=0)
    gram = (x.T @ x).astype(np.float64) / len(x)
    moment = x.T.astype(np.float64) @ (y - middle) / len(x)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ moment
    damped = [rotated / (np.maximum(values, 0) + s)[:, None] for s in strengths]
    return [(vectors @ one, middle) for one in damped]


def _logistic(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], *, multiclass: bool
) -> Solutions:
    """Minimises the mean cross entropy + strength |w|^2 / 2; each strength starts at the last."""
    (num_features, num_outputs), found = (x.shape[1], y.shape[1]), []
    share = np.clip(y.mean(axis=0), 1e-3, 1 - 1e-3)
    bias = np.log(share) if multiclass else scipy.special.logit(share)
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
        found.append((start[:-1].copy(), start[-1].copy()))
    return found


def _cross_entropy(
    x: np.ndarray, y: np.ndarray, strength: float, *, multiclass: bool
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The loss and its gradient at flat weights and biases, summed over outputs."""

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
