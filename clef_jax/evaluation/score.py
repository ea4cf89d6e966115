"""Computes scores of a model's predictions, each with a confidence interval over patients.

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
"""Maps (target, prediction, weight) to a score; see `clef_jax.statistics`."""

_REGRESSION: dict[str, Score] = {
    "mae": regression.mae,
    "rmse": regression.rmse,
    "r2": regression.r2,
}
_AGREEMENT = ("bias", "lower limit of agreement", "upper limit of agreement")
"""Names of the scores that are the fields of `regression.Agreement`."""
_ONE_CLASS: dict[str, Score] = {"auroc": classification.auroc, "auprc": classification.auprc}
GROUPS: dict[str, tuple[str, Callable[[Predictions], np.ndarray]]] = {
    "women": ("sex", lambda predictions: predictions.male == 0),
    "men": ("sex", lambda predictions: predictions.male == 1),
    "below 65 years": ("age", lambda predictions: predictions.age_years < 65),
    "from 65 years": ("age", lambda predictions: predictions.age_years >= 65),
}
"""Kind of each group of patients, and a function that returns a mask of its recordings."""
UNDEFINED, CONSTANT = "not defined", "constant predictions"
"""Texts of a score that is not defined, and beside a score of constant predictions."""
_NO_INTERVAL = bootstrap.Interval(np.nan, np.nan, 0)
_MOST_NAMES = 2
"""Largest number of absent classes that are named beside a score; more are counted."""
MIN_GROUP_PATIENTS = 20
"""Smallest number of patients for which a group is scored."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """One score of one model on one task."""

    name: str
    """Name, for example `auroc`, `macro auroc`, or `auroc NORM` for the output NORM."""
    value: float
    """Value on the test recordings; NaN where it is not defined."""
    interval: bootstrap.Interval
    """95 % confidence interval over patients; NaN where it is not defined."""
    unit: str = ""
    absent: tuple[str, ...] = ()
    """Outputs that a mean excludes, because all their targets are equal."""
    in_table: bool = False
    """Whether tables show the score; the result files hold every score."""
    constant: bool = False
    """Whether the predictions are constant; see `Predictions.constant`."""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return UNDEFINED
        text = f"{self.value:.3g}"
        if np.isfinite(self.interval.low):
            text += f" [{self.interval.low:.3g}, {self.interval.high:.3g}]"
        text = f"{text} {self.unit}".rstrip()
        if self.absent:
            is_few = len(self.absent) <= _MOST_NAMES
            names = ", ".join(self.absent) if is_few else f"{len(self.absent)} absent classes"
            text += f", without {names}"
        return f"{text}, {CONSTANT}" if self.constant else text

    def to_json(self) -> dict[str, Any]:
        """Returns a flat JSON object, with None where a number is not defined."""
        return {
            "score": self.name,
            "value": plain(self.value),
            "low": plain(self.interval.low),
            "high": plain(self.interval.high),
            "unit": self.unit,
            "absent": ", ".join(self.absent),
            "num_resamples": self.interval.num_resamples,
            "constant_predictions": self.constant,
        }


def plain(number: float) -> float | None:
    """Returns a number for JSON, which has no NaN; None if the number is not finite."""
    return float(number) if np.isfinite(number) else None


@dataclasses.dataclass(frozen=True)
class Primary:
    """Score by which models are compared."""

    name: str
    score: Score
    higher_is_better: bool


def primary(task: Task) -> Primary:
    """Returns the primary score of a task.

    It is AUROC if the task is binary, the mean absolute error over all outputs in a regression, and
    else the mean AUROC over classes.
    """
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
    """Computes scores over all outputs, per output and per group of patients.

    Args:
        task: Task.
        predictions: Predictions of the test recordings.
        num_resamples: Number of resamples of the patients for each interval.
        seed: Seed of the resamples.
    """
    sample = _Sample(task, predictions, num_resamples, seed)
    if task.kind == "regression":
        yield from _regression_scores(task, sample)
    elif task.kind == "binary":
        yield from _binary_scores(sample)
    else:
        yield from _class_scores(task, sample)
    yield from _group_scores(task, sample)


class _Sample:
    """Predictions, and how often each recording is in each resample of the patients."""

    def __init__(self, task: Task, predictions: Predictions, num_resamples: int, seed: int):
        # A comparison with NaN is false, so an unknown prediction would count as a negative one.
        unknown = np.isnan(predictions.predicted).any(axis=1, keepdims=True)
        decided = np.where(unknown, np.nan, predictions.decided)
        self.predictions = dataclasses.replace(predictions, decided=decided)
        self._is_classification = task.is_classification
        self.weight = bootstrap.patient_weights(predictions.patient, num_resamples, seed)
        self.constant = predictions.constant
        self._num_patients = len(np.unique(predictions.patient))

    def scored(self, name: str, score: Score, *data: np.ndarray, **fields: Any) -> Scored:
        """Returns the score of data (target, prediction), with its interval."""
        return self.with_interval(name, float(score(*data)), score(*data, self.weight), **fields)

    def with_interval(self, name: str, value: float, values: np.ndarray, **fields: Any) -> Scored:
        """Returns a score with the interval of its values [R] in the resamples.

        A score that is not defined has no interval, nor has a classifier's whose predictions are
        constant: its AUROC is 0.5 in every resample.
        """
        fields.setdefault("constant", bool(self.constant.all()))
        if not np.isfinite(value) or (fields["constant"] and self._is_classification):
            return Scored(name, value, _NO_INTERVAL, **fields)
        return Scored(name, value, bootstrap.interval(values, self._num_patients), **fields)


def _regression_scores(task: Task, sample: _Sample) -> Iterator[Scored]:
    predictions = sample.predictions
    for number, output in enumerate(predictions.outputs):
        suffix = f" {output}" if len(predictions.outputs) > 1 else ""
        data = predictions.target[:, number], predictions.predicted[:, number]
        constant = bool(sample.constant[number])
        for name, score in _REGRESSION.items():
            fields = {"unit": "" if name == "r2" else task.unit, "constant": constant}
            yield sample.scored(name + suffix, score, *data, in_table=True, **fields)
        agreement = regression.bland_altman(*data)
        resampled = regression.bland_altman(*data, sample.weight)
        for name, value, values in zip(_AGREEMENT, agreement, resampled, strict=True):
            fields = {"unit": task.unit, "constant": constant}
            yield sample.with_interval(name + suffix, float(value), values, **fields)


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
    yield from _calibration_scores(sample, classification.has_both_classes(predictions.target))


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
        mean = float(np.mean(value)) if value else np.nan
        means = classification.mean_of_defined(values)
        yield sample.with_interval(f"macro {name}", mean, means, absent=absent, in_table=True)
        for k, point, resampled in zip(columns, value, values, strict=True):
            constant = bool(sample.constant[k])
            yield sample.with_interval(
                f"{name} {predictions.outputs[k]}", point, resampled, constant=constant
            )
    if task.kind == "multiclass":
        accuracy = classification.balanced_accuracy
        name, data = "balanced accuracy", (predictions.target, predictions.predicted)
        yield sample.scored(name, accuracy, *data, in_table=True)
    yield from _calibration_scores(sample, both)


def _calibration_scores(sample: _Sample, both: np.ndarray) -> Iterator[Scored]:
    """Yields Brier score and expected calibration error, as means over the classes of the mask
    `both`, bool [K]; they are not defined without such a class."""
    predictions, columns = sample.predictions, np.flatnonzero(both)
    if not len(columns):
        yield Scored("brier", np.nan, _NO_INTERVAL)
        yield Scored("expected calibration error", np.nan, _NO_INTERVAL)
        return
    target, predicted = predictions.target[:, columns], predictions.predicted[:, columns]
    squared = ((predicted - target) ** 2).mean(axis=1)
    yield sample.scored("brier", classification.weighted_mean, squared)
    errors = [
        calibration.reliability(*pair).expected_error
        for pair in zip(target.T, predicted.T, strict=True)
    ]
    # Resamples overestimate the expected calibration error, so it has no interval.
    constant = bool(sample.constant.all())
    value = float(np.mean(errors))
    yield Scored("expected calibration error", value, _NO_INTERVAL, constant=constant)


def _group_scores(task: Task, sample: _Sample) -> Iterator[Scored]:
    """Yields the primary score of each group of patients, and the difference of two groups."""
    predictions, name = sample.predictions, primary(task).name
    unit = task.unit
    for kind in dict.fromkeys(kind for kind, _ in GROUPS.values()):
        members = {
            group: is_member(predictions)
            for group, (kind_of_group, is_member) in GROUPS.items()
            if kind_of_group == kind
        }
        if any(
            len(np.unique(predictions.patient[m])) < MIN_GROUP_PATIENTS for m in members.values()
        ):
            continue
        columns = np.ones(predictions.target.shape[1], bool)
        if task.is_classification:  # a difference of means needs the same classes in both groups
            for mask in members.values():
                columns &= classification.has_both_classes(predictions.target[mask])
        if not columns.any():
            continue
        score, by_group = primary(task).score, []
        for group, mask in members.items():
            data = predictions.target[mask][:, columns], predictions.predicted[mask][:, columns]
            value, values = float(score(*data)), score(*data, sample.weight[:, mask])
            by_group.append((value, values))
            yield sample.with_interval(f"{name}, {group}", value, values, unit=unit)
        (first, firsts), (second, seconds) = by_group
        difference = f"{name}, {' minus '.join(members)}"
        yield sample.with_interval(difference, first - second, firsts - seconds, unit=unit)
