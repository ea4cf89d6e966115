"""Scores a model's answers, each with an interval over patients."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from clef_jax.evaluation.question import Answers
from clef_jax.statistics import bootstrap, classification, regression
from clef_jax.tasks import Task

_REGRESSION = {"mae": regression.mae, "rmse": regression.rmse, "r2": regression.r2}
_ONE_CLASS = {"auroc": classification.auroc, "auprc": classification.auprc}


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
    in_table: bool = True
    """Whether it is told at first sight; others are in the files."""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        interval = f"[{self.interval.low:.3g}, {self.interval.high:.3g}]"
        missing = f", without {', '.join(self.absent)}" if self.absent else ""
        return f"{self.value:.3g} {interval} {self.unit}".rstrip() + missing

    def to_json(self) -> dict[str, Any]:
        """Flat, with None for what is not defined."""

        def plain(number: float) -> float | None:
            return float(number) if np.isfinite(number) else None

        return {
            "score": self.name,
            "value": plain(self.value),
            "low": plain(self.interval.low),
            "high": plain(self.interval.high),
            "unit": self.unit,
            "absent": ", ".join(self.absent),
            "num_resamples": self.interval.num_resamples,
        }


def of(task: Task, answers: Answers, *, num_resamples: int, seed: int) -> Iterator[Scored]:
    """The scores that suit the kind of task, those of all outputs first."""
    weight = bootstrap.patient_weights(answers.patient, num_resamples, seed)
    num_patients = len(np.unique(answers.patient))

    def scored(name: str, score_of: Callable[..., Any], *data: np.ndarray, **more: Any) -> Scored:
        spread = bootstrap.interval(score_of(*data, weight), num_patients)
        return Scored(name, float(score_of(*data)), spread, **more)

    target, predicted = answers.target, answers.predicted
    if task.kind == "regression":
        for number, output in enumerate(answers.outputs):
            suffix = f" {output}" if len(answers.outputs) > 1 else ""
            for name, score_of in _REGRESSION.items():
                unit = "" if name == "r2" else task.unit
                columns = (target[:, number], predicted[:, number])
                yield scored(name + suffix, score_of, *columns, unit=unit)
        return
    if task.kind == "binary":
        for name, score_of in {**_ONE_CLASS, "brier": classification.brier}.items():
            yield scored(name, score_of, target[:, 0], predicted[:, 0])
        return
    told = classification.told_apart(target)
    absent = tuple(name for name, ok in zip(answers.outputs, told, strict=True) if not ok)
    for name, score_of in _ONE_CLASS.items():
        macro = functools.partial(classification.mean_over_classes, score_of)
        yield scored(f"macro {name}", macro, target, predicted, absent=absent)
    if task.kind == "multiclass":
        yield scored("balanced accuracy", classification.balanced_accuracy, target, predicted)
    for number in np.flatnonzero(told):
        for name, score_of in _ONE_CLASS.items():
            columns = (target[:, number], predicted[:, number])
            yield scored(f"{name} {answers.outputs[number]}", score_of, *columns, in_table=False)
