"""Scores of a model's predictions, each with an interval over patients.

Shapes: N recordings, R resamples, K outputs.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from clef_jax.evaluation.prediction import Predictions
from clef_jax.statistics import bootstrap, calibration, classification, regression
from clef_jax.tasks import Task

Score = Callable[..., np.ndarray]
"""Of (target, prediction, weight), as in `clef_jax.statistics`."""

_REGRESSION: dict[str, Score] = {
    "mae": regression.mae,
    "rmse": regression.rmse,
    "r2": regression.r2,
}
_AGREEMENT = ("bias", "lower limit of agreement", "upper limit of agreement")
"""Names of the fields of `regression.Agreement`."""
_ONE_CLASS: dict[str, Score] = {"auroc": classification.auroc, "auprc": classification.auprc}
GROUPS: dict[str, tuple[str, Callable[[Predictions], np.ndarray]]] = {
    "women": ("sex", lambda predictions: predictions.male == 0),
    "men": ("sex", lambda predictions: predictions.male == 1),
    "below 65 years": ("age", lambda predictions: predictions.age_years < 65),
    "from 65 years": ("age", lambda predictions: predictions.age_years >= 65),
}
"""The kind and the members of each group of patients that is scored on its own."""
MIN_GROUP_PATIENTS = 20
"""Smaller groups are not scored."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """One score of one model on one task."""

    name: str
    """For example `auroc`, `macro auroc`, or `auroc NORM` of one output."""
    value: float
    """NaN where a class is absent."""
    interval: bootstrap.Interval
    unit: str = ""
    absent: tuple[str, ...] = ()
    """Outputs that the mean excludes, because all their targets are equal."""
    in_table: bool = False
    """Whether tables show it; the files hold every score."""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        interval = f"[{self.interval.low:.3g}, {self.interval.high:.3g}]"
        missing = f", without {', '.join(self.absent)}" if self.absent else ""
        return f"{self.value:.3g} {interval} {self.unit}".rstrip() + missing

    def to_json(self) -> dict[str, Any]:
        """Returns a flat object, with None where a number is not defined."""
        return {
            "score": self.name,
            "value": plain(self.value),
            "low": plain(self.interval.low),
            "high": plain(self.interval.high),
            "unit": self.unit,
            "absent": ", ".join(self.absent),
            "num_resamples": self.interval.num_resamples,
        }


def plain(number: float) -> float | None:
    """Returns a number for JSON, which has no NaN: None if it is not finite."""
    return float(number) if np.isfinite(number) else None


@dataclasses.dataclass(frozen=True)
class Primary:
    """The score that models are compared by."""

    name: str
    score: Score
    higher_is_better: bool


def primary(task: Task) -> Primary:
    """Returns AUROC, its mean over classes, or the mean absolute error over outputs."""
    if task.kind == "regression":
        return Primary("mae", _mean_absolute_error, higher_is_better=False)
    if task.kind == "binary":
        return Primary("auroc", _of_one_column(classification.auroc), higher_is_better=True)
    return Primary("macro auroc", _macro_auroc, higher_is_better=True)


def _of_one_column(score: Score) -> Score:
    return lambda target, predicted, weight=None: score(target[:, 0], predicted[:, 0], weight)


def _macro_auroc(target, predicted, weight=None):
    return classification.mean_over_classes(classification.auroc, target, predicted, weight)


def _mean_absolute_error(target, predicted, weight=None):
    return classification.weighted_mean(np.abs(predicted - target).mean(axis=1), weight)


def compute(
    task: Task, predictions: Predictions, *, num_resamples: int, seed: int
) -> Iterator[Scored]:
    """Computes scores over all outputs, per output and per group."""
    sample = _Sample(predictions, num_resamples, seed)
    if task.kind == "regression":
        yield from _regression_scores(task, sample)
    elif task.kind == "binary":
        yield from _binary_scores(sample)
    else:
        yield from _class_scores(task, sample)
    yield from _group_scores(task, sample)


class _Sample:
    """Predictions, and how often each is in each resample of the patients."""

    def __init__(self, predictions: Predictions, num_resamples: int, seed: int):
        self.predictions = predictions
        self.weight = bootstrap.patient_weights(predictions.patient, num_resamples, seed)
        self._num_patients = len(np.unique(predictions.patient))

    def scored(self, name: str, score: Score, *data: np.ndarray, **more: Any) -> Scored:
        return self.with_interval(name, float(score(*data)), score(*data, self.weight), **more)

    def with_interval(self, name: str, value: float, values: np.ndarray, **more: Any) -> Scored:
        """Returns a score with the interval of its values [R] in the resamples."""
        return Scored(name, value, bootstrap.interval(values, self._num_patients), **more)


def _regression_scores(task: Task, sample: _Sample) -> Iterator[Scored]:
    predictions = sample.predictions
    for number, output in enumerate(predictions.outputs):
        suffix = f" {output}" if len(predictions.outputs) > 1 else ""
        target, predicted = predictions.target[:, number], predictions.predicted[:, number]
        for name, score in _REGRESSION.items():
            unit = "" if name == "r2" else task.unit
            yield sample.scored(name + suffix, score, target, predicted, unit=unit, in_table=True)
        agreement = regression.bland_altman(target, predicted)
        resampled = regression.bland_altman(target, predicted, sample.weight)
        for name, value, values in zip(_AGREEMENT, agreement, resampled, strict=True):
            yield sample.with_interval(name + suffix, float(value), values, unit=task.unit)


def _binary_scores(sample: _Sample) -> Iterator[Scored]:
    predictions = sample.predictions
    target, predicted = predictions.target[:, 0], predictions.predicted[:, 0]
    for name, score in _ONE_CLASS.items():
        yield sample.scored(name, score, target, predicted, in_table=True)
    decided = predictions.decided[:, 0]
    yield sample.scored("f1", classification.f1, target, decided, in_table=True)
    yield sample.scored(
        "balanced accuracy",
        classification.balanced_accuracy,
        np.stack([1 - target, target], axis=1),
        np.stack([1 - decided, decided], axis=1),
    )
    yield from _calibration_scores(sample, np.array([True]))


def _class_scores(task: Task, sample: _Sample) -> Iterator[Scored]:
    predictions = sample.predictions
    both = classification.has_both_classes(predictions.target)
    absent = tuple(name for name, ok in zip(predictions.outputs, both, strict=True) if not ok)
    columns = np.flatnonzero(both)
    one_class = {
        **{name: (score, predictions.predicted) for name, score in _ONE_CLASS.items()},
        "f1": (classification.f1, predictions.decided),
    }
    for name, (score, predicted) in one_class.items():
        value = [float(score(predictions.target[:, k], predicted[:, k])) for k in columns]
        values = [score(predictions.target[:, k], predicted[:, k], sample.weight) for k in columns]
        mean, means = (classification.mean_of_defined(item) for item in (value, values))
        yield sample.with_interval(
            f"macro {name}", float(mean), means, absent=absent, in_table=True
        )
        for k, point, resampled in zip(columns, value, values, strict=True):
            yield sample.with_interval(f"{name} {predictions.outputs[k]}", point, resampled)
    if task.kind == "multiclass":
        accuracy = classification.balanced_accuracy
        name, data = "balanced accuracy", (predictions.target, predictions.predicted)
        yield sample.scored(name, accuracy, *data, in_table=True)
    yield from _calibration_scores(sample, both)


def _calibration_scores(sample: _Sample, both: np.ndarray) -> Iterator[Scored]:
    """Brier score and expected calibration error, means over the classes with both outcomes."""
    predictions, columns = sample.predictions, np.flatnonzero(both)
    if not len(columns):
        return
    target, predicted = predictions.target[:, columns], predictions.predicted[:, columns]
    squared = ((predicted - target) ** 2).mean(axis=1)
    yield sample.scored("brier", classification.weighted_mean, squared)
    errors = [
        calibration.reliability(*pair).expected_error
        for pair in zip(target.T, predicted.T, strict=True)
    ]
    # In resamples it is biased upwards, so it has no interval.
    nothing = bootstrap.Interval(np.nan, np.nan, 0)
    yield Scored("expected calibration error", float(np.mean(errors)), nothing)


def _group_scores(task: Task, sample: _Sample) -> Iterator[Scored]:
    """Yields the primary score of each group of patients, and the difference between two groups."""
    predictions, name = sample.predictions, primary(task).name
    unit = task.unit
    for kind in dict.fromkeys(kind for kind, _ in GROUPS.values()):
        members = {
            group: belongs(predictions)
            for group, (compute, belongs) in GROUPS.items()
            if compute == kind
        }
        if any(
            len(np.unique(predictions.patient[m])) < MIN_GROUP_PATIENTS for m in members.values()
        ):
            continue
        columns = np.ones(predictions.target.shape[1], bool)
        if task.is_classification:  # the difference needs the same classes
            for chosen in members.values():
                columns &= classification.has_both_classes(predictions.target[chosen])
        if not columns.any():
            continue
        score, by_group = primary(task).score, []
        for group, chosen in members.items():
            data = predictions.target[chosen][:, columns], predictions.predicted[chosen][:, columns]
            value, values = float(score(*data)), score(*data, sample.weight[:, chosen])
            by_group.append((value, values))
            yield sample.with_interval(f"{name}, {group}", value, values, unit=unit)
        (first, firsts), (second, seconds) = by_group
        gap = f"{name}, {' minus '.join(members)}"
        yield sample.with_interval(gap, first - second, firsts - seconds, unit=unit)
