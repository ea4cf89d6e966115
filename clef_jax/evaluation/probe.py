"""Fits heads to frozen features, and chooses their setting on data that they were not fitted to.

The setting (strength of the penalty, number of neighbours) and the threshold of a decision are
chosen on validation data only, or, without validation data, by cross-validation within the training
patients.

Shapes: N recordings, D features, K outputs, S settings.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from clef_jax.errors import UserError
from clef_jax.evaluation import knn, linear
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.statistics import classification

METHODS = {"linear": linear, "knn": knn}
NUM_FOLDS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Fitted heads, and the one that was chosen for each output."""

    heads: tuple[Callable[[np.ndarray], np.ndarray], ...]
    """A head for each setting; maps features [N, D] to predictions [N, K]."""
    chosen: np.ndarray
    """int [K], the number of the head that predicts each output."""
    strength: np.ndarray
    """[K], the setting of the head that predicts each output."""
    threshold: np.ndarray
    """[K], the lowest probability at which a class is predicted to be present; NaN in a
    regression."""
    validation_loss: float
    """Mean squared error or cross entropy of the chosen heads, summed over outputs."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns probabilities of the classes, or values of the regression: float64 [N, K]."""
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
    seed: int = 0,
) -> Probe:
    """Returns a probe that is fitted to `train`, with settings chosen on `validation`.

    Args:
        validation: if None, or if all its targets are equal, settings are chosen by
            cross-validation within `train`.
        method: `linear` or `knn`.
        strengths: settings to choose from; by default those of the method.
        seed: selects the folds of the cross-validation.

    Raises:
        UserError: there are no examples, or all have the same target.
    """
    check(kind, train)
    fit_all, settings = METHODS[method].fit_all, strengths or METHODS[method].STRENGTHS
    heads = tuple(fit_all(kind, train, settings))
    if validation is None or not _has_different_targets(validation):
        target, predicted = _cross_predicted(kind, train, fit_all, settings, seed)
    else:
        target = validation.target
        predicted = np.stack([head(validation.features) for head in heads])
    loss = losses(kind, target, predicted)
    chosen = np.argmin(loss, axis=0)  # the first, strongest setting if losses are equal
    output = np.arange(len(chosen))
    return Probe(
        heads,
        chosen,
        np.asarray(settings, float)[chosen],
        thresholds(kind, target, predicted[chosen, :, output].T),
        float(loss[chosen, output].sum()),
    )


def check(kind: str, train: Examples) -> None:
    """Raises UserError if there are no training examples, or all have the same target."""
    if not len(train):
        raise UserError(
            "No training recording has a target and usable features.", problem="no_targets"
        )
    if not _has_different_targets(train):
        what = "value" if kind == "regression" else "class"
        raise UserError(
            f"All {len(train)} training recordings are of one {what}, so no probe can be fitted.",
            problem="one_class",
        )


def _has_different_targets(examples: Examples) -> bool:
    """Returns whether any two examples have different targets."""
    return len(examples) > 1 and bool((examples.target != examples.target[:1]).any())


def _cross_predicted(
    kind: str, train: Examples, fit_all: Callable, settings: Sequence[float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns targets [N, K] and predictions [S, N, K], of heads not fitted to the patient."""
    fold = folds(train.patient, NUM_FOLDS, seed)
    parts = []
    for number in np.unique(fold):
        inner, outer = train.at(fold != number), train.at(fold == number)
        if len(inner) and _has_different_targets(inner):
            heads = fit_all(kind, inner, settings)
            parts.append((outer.target, np.stack([head(outer.features) for head in heads])))
    if not parts:
        num_outputs = train.target.shape[1]
        return np.zeros((0, num_outputs)), np.zeros((len(settings), 0, num_outputs))
    targets, predicted = zip(*parts, strict=True)
    return np.concatenate(targets), np.concatenate(predicted, axis=1)


def losses(kind: str, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the mean squared error or cross entropy of each setting and output: [S, K].

    The classes of a multiclass task share one loss, because they share one setting.

    Args:
        target: [N, K].
        predicted: [S, N, K].
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
