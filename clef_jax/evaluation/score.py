"""Scores a model's answers, each with an interval over patients.

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
    "women": ("sex", lambda answers: answers.male == 0),
    "men": ("sex", lambda answers: answers.male == 1),
    "below 65 years": ("age", lambda answers: answers.age_years < 65),
    "from 65 years": ("age", lambda answers: answers.age_years >= 65),
}
"""Whose scores are told apart, by what sets them apart."""
MIN_GROUP_PATIENTS = 20
"""Fewer say nothing about a group."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """One number about one model on one task."""

    name: str
    """For example `auroc`, `macro auroc`, or `auroc NORM` of one output."""
    value: float
    """NaN where a class is absent."""
    interval: bootstrap.Interval
    unit: str = ""
    absent: tuple[str, ...] = ()
    """Outputs that the average leaves out, because their recordings are all alike."""
    in_table: bool = False
    """Whether it is told at first sight; others are in the files."""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        interval = f"[{self.interval.low:.3g}, {self.interval.high:.3g}]"
        missing = f", without {', '.join(self.absent)}" if self.absent else ""
        return f"{self.value:.3g} {interval} {self.unit}".rstrip() + missing

    def to_json(self) -> dict[str, Any]:
        """Flat, with None for what is not defined."""
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
    """A number as JSON can hold it."""
    return float(number) if np.isfinite(number) else None


@dataclasses.dataclass(frozen=True)
class Primary:
    """The score that models are compared by."""

    name: str
    score: Score
    higher_is_better: bool


def primary(task: Task) -> Primary:
    """AUROC, its mean over classes, or the mean absolute error over outputs."""
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


def compute(task: Task, answers: Predictions, *, num_resamples: int, seed: int) -> Iterator[Scored]:
    """The scores that suit the kind of task: those of all outputs, of each, and of groups."""
    sample = _Sample(answers, num_resamples, seed)
    if task.kind == "regression":
        yield from _of_numbers(task, sample)
    elif task.kind == "binary":
        yield from _of_one_class(sample)
    else:
        yield from _of_classes(task, sample)
    yield from _of_groups(task, sample)


class _Sample:
    """Answers, and how often each is in each resample of the patients."""

    def __init__(self, answers: Predictions, num_resamples: int, seed: int):
        self.answers = answers
        self.weight = bootstrap.patient_weights(answers.patient, num_resamples, seed)
        self._num_patients = len(np.unique(answers.patient))

    def scored(self, name: str, score: Score, *data: np.ndarray, **more: Any) -> Scored:
        return self.told(name, float(score(*data)), score(*data, self.weight), **more)

    def told(self, name: str, value: float, values: np.ndarray, **more: Any) -> Scored:
        """A value with the interval of its values [R] in the resamples."""
        return Scored(name, value, bootstrap.interval(values, self._num_patients), **more)


def _of_numbers(task: Task, sample: _Sample) -> Iterator[Scored]:
    answers = sample.answers
    for number, output in enumerate(answers.outputs):
        suffix = f" {output}" if len(answers.outputs) > 1 else ""
        target, predicted = answers.target[:, number], answers.predicted[:, number]
        for name, score in _REGRESSION.items():
            unit = "" if name == "r2" else task.unit
            yield sample.scored(name + suffix, score, target, predicted, unit=unit, in_table=True)
        agreement = regression.bland_altman(target, predicted)
        resampled = regression.bland_altman(target, predicted, sample.weight)
        for name, value, values in zip(_AGREEMENT, agreement, resampled, strict=True):
            yield sample.told(name + suffix, float(value), values, unit=task.unit)


def _of_one_class(sample: _Sample) -> Iterator[Scored]:
    answers = sample.answers
    target, predicted = answers.target[:, 0], answers.predicted[:, 0]
    for name, score in _ONE_CLASS.items():
        yield sample.scored(name, score, target, predicted, in_table=True)
    decided = answers.decided[:, 0]
    yield sample.scored("f1", classification.f1, target, decided, in_table=True)
    yield sample.scored(
        "balanced accuracy",
        classification.balanced_accuracy,
        np.stack([1 - target, target], axis=1),
        np.stack([1 - decided, decided], axis=1),
    )
    yield from _of_calibration(sample, np.array([True]))


def _of_classes(task: Task, sample: _Sample) -> Iterator[Scored]:
    answers = sample.answers
    told = classification.told_apart(answers.target)
    absent = tuple(name for name, ok in zip(answers.outputs, told, strict=True) if not ok)
    columns = np.flatnonzero(told)
    one_class = {
        **{name: (score, answers.predicted) for name, score in _ONE_CLASS.items()},
        "f1": (classification.f1, answers.decided),
    }
    for name, (score, said) in one_class.items():
        value = [float(score(answers.target[:, k], said[:, k])) for k in columns]
        values = [score(answers.target[:, k], said[:, k], sample.weight) for k in columns]
        mean, means = (classification.mean_of_defined(found) for found in (value, values))
        yield sample.told(f"macro {name}", float(mean), means, absent=absent, in_table=True)
        for k, one, many in zip(columns, value, values, strict=True):
            yield sample.told(f"{name} {answers.outputs[k]}", one, many)
    if task.kind == "multiclass":
        accuracy = classification.balanced_accuracy
        name, data = "balanced accuracy", (answers.target, answers.predicted)
        yield sample.scored(name, accuracy, *data, in_table=True)
    yield from _of_calibration(sample, told)


def _of_calibration(sample: _Sample, told: np.ndarray) -> Iterator[Scored]:
    """Brier score and expected calibration error, means over the classes that are told apart."""
    answers, columns = sample.answers, np.flatnonzero(told)
    if not len(columns):
        return
    target, predicted = answers.target[:, columns], answers.predicted[:, columns]
    squared = ((predicted - target) ** 2).mean(axis=1)
    yield sample.scored("brier", classification.weighted_mean, squared)
    errors = [
        calibration.reliability(*pair).expected_error
        for pair in zip(target.T, predicted.T, strict=True)
    ]
    # Of resamples it is biased upwards, so it has no interval.
    nothing = bootstrap.Interval(np.nan, np.nan, 0)
    yield Scored("expected calibration error", float(np.mean(errors)), nothing)


def _of_groups(task: Task, sample: _Sample) -> Iterator[Scored]:
    """The primary score of each group of patients, and the gap between the two of a kind."""
    answers, name = sample.answers, primary(task).name
    unit = task.unit
    for kind in dict.fromkeys(kind for kind, _ in GROUPS.values()):
        members = {
            group: belongs(answers)
            for group, (compute, belongs) in GROUPS.items()
            if compute == kind
        }
        if any(len(np.unique(answers.patient[m])) < MIN_GROUP_PATIENTS for m in members.values()):
            continue
        columns = np.ones(answers.target.shape[1], bool)
        if task.is_classification:  # the same classes in both groups, or the gap compares unlike
            for chosen in members.values():
                columns &= classification.told_apart(answers.target[chosen])
        if not columns.any():
            continue
        score, found = primary(task).score, []
        for group, chosen in members.items():
            data = answers.target[chosen][:, columns], answers.predicted[chosen][:, columns]
            value, values = float(score(*data)), score(*data, sample.weight[:, chosen])
            found.append((value, values))
            yield sample.told(f"{name}, {group}", value, values, unit=unit)
        (first, firsts), (second, seconds) = found
        gap = f"{name}, {' minus '.join(members)}"
        yield sample.told(gap, first - second, firsts - seconds, unit=unit)
