"""A head fitted to frozen features, its one setting chosen on data that it was not fitted to.

The setting (strength of the penalty, number of neighbours) and the threshold of a decision are
chosen on validation data only, or, where there is none, by cross-validation within the training
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
    """What was fitted, and what was chosen for each output."""

    heads: tuple[Callable[[np.ndarray], np.ndarray], ...]
    """One for each setting, features [N, D] to answers [N, K]."""
    chosen: np.ndarray
    """int [K], which head answers for each output."""
    strength: np.ndarray
    """[K], the setting that was chosen."""
    threshold: np.ndarray
    """[K], from which probability on a class is called present; NaN in a regression."""
    validation_loss: float
    """Mean squared error or cross entropy of the choice, summed over outputs."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 [N, K]: probabilities of the classes, or values of the regression."""
        predicted = np.empty((len(features), len(self.chosen)))
        for number in np.unique(self.chosen):
            mine = self.chosen == number
            predicted[:, mine] = self.heads[number](features)[:, mine]
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
    """A probe fitted to `train`, its settings chosen on `validation`.

    Raises:
        UserError: there is nothing to fit, or only one class of everything.
    """
    check(kind, train)
    fit_all, settings = METHODS[method].fit_all, strengths or METHODS[method].STRENGTHS
    heads = tuple(fit_all(kind, train, settings))
    if validation is None or not _tells(validation):
        seen = _cross_predicted(kind, train, fit_all, settings, seed)
    else:
        seen = validation.target, np.stack([head(validation.features) for head in heads])
    target, predicted = seen
    loss = losses(kind, target, predicted)
    chosen = np.argmin(loss, axis=0)  # the first, strongest one, where nothing tells them apart
    output = np.arange(len(chosen))
    return Probe(
        heads,
        chosen,
        np.asarray(settings, float)[chosen],
        thresholds(kind, target, predicted[chosen, :, output].T),
        float(loss[chosen, output].sum()),
    )


def check(kind: str, train: Examples) -> None:
    if not len(train):
        raise UserError(
            "No training recording has a target and usable features.", problem="no_targets"
        )
    if not _tells(train):
        what = "value" if kind == "regression" else "class"
        raise UserError(
            f"All {len(train)} training recordings are of one {what}, so there is nothing to "
            "learn.",
            problem="one_class",
        )


def _tells(examples: Examples) -> bool:
    """Whether examples can tell anything apart."""
    return len(examples) > 1 and bool((examples.target != examples.target[:1]).any())


def _cross_predicted(
    kind: str, train: Examples, fit_all: Callable, settings: Sequence[float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Targets [N, K] and answers [S, N, K] of patients whom no head was fitted to."""
    fold = folds(train.patient, NUM_FOLDS, seed)
    parts = []
    for number in np.unique(fold):
        inner, held = train.at(fold != number), train.at(fold == number)
        if len(inner) and _tells(inner):
            heads = fit_all(kind, inner, settings)
            parts.append((held.target, np.stack([head(held.features) for head in heads])))
    if not parts:
        num_outputs = train.target.shape[1]
        return np.zeros((0, num_outputs)), np.zeros((len(settings), 0, num_outputs))
    targets, answers = zip(*parts, strict=True)
    return np.concatenate(targets), np.concatenate(answers, axis=1)


def losses(kind: str, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[S, K], mean squared error or cross entropy of answers [S, N, K] to targets [N, K].

    The classes of a multiclass task share one loss, because they share one setting.
    """
    if not len(target):
        return np.zeros((len(predicted), target.shape[1]))
    if kind == "regression":
        return ((predicted - target) ** 2).mean(axis=1)
    probability = np.clip(predicted, 1e-12, 1 - 1e-12)
    surprise = -target * np.log(probability)
    if kind == "multiclass":
        mean = surprise.mean(axis=1)
        return np.repeat(mean.mean(axis=1, keepdims=True), mean.shape[1], axis=1)
    surprise -= (1 - target) * np.log(1 - probability)
    return surprise.mean(axis=1)


def thresholds(kind: str, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    if kind == "regression":
        return np.full(target.shape[1], np.nan)
    pairs = zip(target.T, predicted.T, strict=True)
    return np.array([classification.best_f1_threshold(*pair) for pair in pairs])
