"""Fits heads to frozen features, and selects their setting on data that they were not fitted to.

The setting (strength of the penalty, or number of neighbours) and the threshold of decisions are
selected on validation data only. Without validation data they are selected by cross-validation
within the training patients.

Shapes: N recordings, D features, K outputs, S settings.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clef_jax.errors import UserError, counted
from clef_jax.evaluation import knn, linear
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.evaluation.linear import Linear
from clef_jax.statistics import classification

METHODS = {"linear": linear, "knn": knn}
"""Modules of the methods by name; each defines `fit_all` and `STRENGTHS`."""
NUM_FOLDS = 3
"""Number of folds of the cross-validation that selects settings."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Fitted heads, one of which is selected for each output."""

    heads: tuple[Callable[[np.ndarray], np.ndarray], ...]
    """Heads, one for each setting; each maps features [N, D] to predictions [N, K]."""
    chosen: np.ndarray
    """Number of the head that predicts each output, int [K]."""
    strength: np.ndarray
    """Setting of the head that predicts each output, [K]."""
    threshold: np.ndarray
    """Lowest probability at which a class is predicted to be present, [K]; NaN in a regression."""
    validation_loss: float
    """Mean squared error or cross entropy of the selected heads, summed over outputs."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns the predictions of features [N, D], float64 [N, K].

        They are probabilities of the classes, or values of the regression.
        """
        predicted = np.empty((len(features), len(self.chosen)))
        for number in np.unique(self.chosen):
            columns = self.chosen == number
            predicted[:, columns] = self.heads[number](features)[:, columns]
        return predicted


def fit(
    kind: str,
    train: Examples,
    validation: Examples | None = None,
    *,
    method: str = "linear",
    strengths: Sequence[float] | None = None,
    widths: Sequence[int] = (),
    seed: int = 0,
) -> Probe:
    """Returns a probe that is fitted to `train`, with settings selected on `validation`.

    Args:
        kind: Kind of the task.
        train: Training examples.
        validation: Validation examples; without them, or if all their targets are equal, settings
            are selected by cross-validation within `train`.
        method: `linear` or `knn`.
        strengths: Settings to try; by default those of the method.
        widths: Number of features of each model, if the features are those of several models; by
            default they are those of one.
        seed: Seed of the folds of the cross-validation.

    Raises:
        UserError: there are no training examples, or all have the same target.
    """
    check(kind, train)
    fit_all = functools.partial(METHODS[method].fit_all, widths=widths)
    settings = strengths or METHODS[method].STRENGTHS
    heads = tuple(fit_all(kind, train, settings))
    if validation is None or not _has_different_targets(validation):
        target, predicted = _cross_predicted(kind, train, fit_all, settings, seed)
    else:
        target = validation.target
        predicted = np.stack([head(validation.features) for head in heads])
    loss = losses(kind, target, predicted)
    chosen = np.argmin(loss, axis=0)  # the first setting, the strongest, if losses are equal
    output = np.arange(len(chosen))
    return Probe(
        heads,
        chosen,
        np.asarray(settings, float)[chosen],
        thresholds(kind, target, predicted[chosen, :, output].T),
        float(loss[chosen, output].sum()),
    )


def logits(fitted: Probe, features: np.ndarray) -> np.ndarray:
    """Returns the outputs of a linear probe before the sigmoid or softmax, [N, K]."""
    result = np.empty((len(features), len(fitted.chosen)))
    for number in np.unique(fitted.chosen):
        head, columns = _linear(fitted, number), fitted.chosen == number
        scaled = (features - head.centre) / head.scale
        result[:, columns] = (scaled @ head.weight + head.bias)[:, columns]
    return result


def weights(fitted: Probe) -> tuple[np.ndarray, np.ndarray]:
    """Returns weight [K, D] and bias [K], float32, of a linear probe on features as they are.

    The bias makes up for the rounding of the weights at the features' mean.
    """
    weight, bias = [], []
    for output, number in enumerate(fitted.chosen):
        head = _linear(fitted, number)
        rounded = (head.weight[:, output] / head.scale).astype(np.float32)
        weight.append(rounded)
        bias.append(head.bias[output] - (head.centre * rounded.astype(np.float64)).sum())
    return np.array(weight), np.array(bias, np.float32)


def head_arrays(fitted: Probe) -> dict[str, Any]:
    """Returns the arrays of a `Head` of a linear probe, by its fields' names."""
    weight, bias = weights(fitted)
    count = len(bias)
    return {"weight": weight, "bias": bias, "centre": np.zeros(count), "scale": np.ones(count)}


def _linear(fitted: Probe, number: int) -> Linear:
    head = fitted.heads[number]
    assert isinstance(head, Linear)
    return head


def check(kind: str, train: Examples) -> None:
    """Raises UserError if there are no training examples, or all have the same target."""
    if not len(train):
        raise UserError(
            "No training recording has a target and usable features.", problem="no_targets"
        )
    if not _has_different_targets(train):
        same = "value" if kind == "regression" else "class"
        raise UserError(
            f"All {counted(len(train), 'training recording')} have the same {same}, so no probe "
            "can be fitted.",
            problem="one_class",
        )


def _has_different_targets(examples: Examples) -> bool:
    """Returns whether any two examples have different targets."""
    return len(examples) > 1 and bool((examples.target != examples.target[:1]).any())


def _cross_predicted(
    kind: str, train: Examples, fit_all: Callable, settings: Sequence[float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns targets [N, K] and cross-validated predictions [S, N, K] of the training examples.

    The examples of a fold are omitted if all others have the same target.
    """
    fold = folds(train.patient, NUM_FOLDS, seed)
    results = []
    for number in np.unique(fold):
        inner, outer = train.at(fold != number), train.at(fold == number)
        if len(inner) and _has_different_targets(inner):
            heads = fit_all(kind, inner, settings)
            results.append((outer.target, np.stack([head(outer.features) for head in heads])))
    if not results:
        num_outputs = train.target.shape[1]
        return np.zeros((0, num_outputs)), np.zeros((len(settings), 0, num_outputs))
    targets, predicted = zip(*results, strict=True)
    return np.concatenate(targets), np.concatenate(predicted, axis=1)


def losses(kind: str, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the mean squared error or cross entropy of each setting and output, [S, K].

    The classes of a multiclass task have the same loss, so that they get the same setting.

    Args:
        kind: Kind of the task.
        target: Targets, [N, K].
        predicted: Predictions with each setting, [S, N, K].
    """
    if not len(target):
        return np.zeros((len(predicted), target.shape[1]))
    if kind == "regression":
        return ((predicted - target) ** 2).mean(axis=1)
    probability = np.clip(predicted, 1e-12, 1 - 1e-12)
    cross_entropy = -target * np.log(probability)
    if kind == "multiclass":
        mean = cross_entropy.mean(axis=1)
        return np.repeat(mean.mean(axis=1, keepdims=True), mean.shape[1], axis=1)
    cross_entropy -= (1 - target) * np.log(1 - probability)
    return cross_entropy.mean(axis=1)


def thresholds(kind: str, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the threshold with the best F1 for each output, [K]; NaN for a regression."""
    if kind == "regression":
        return np.full(target.shape[1], np.nan)
    pairs = zip(target.T, predicted.T, strict=True)
    return np.array([classification.best_f1_threshold(*pair) for pair in pairs])
