"""Results of an evaluation, their comparison, and their files: JSON, CSV and Parquet."""

import csv
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import rich.table

from clef_jax import files
from clef_jax.evaluation import score
from clef_jax.evaluation.prediction import Predictions
from clef_jax.statistics import comparison
from clef_jax.tasks import Task

ALPHA = 0.05
"""Significance level of a difference, after Holm's correction."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Predictions and scores of one model on one task, with one method and fraction of labels."""

    task: Task
    model: str
    method: str
    """linear, knn or finetune."""
    label_fraction: float
    """Fraction of the training patients whose labels were used."""
    seed: int
    predictions: Predictions
    scores: tuple[score.Scored, ...]
    seconds: float
    """Time for fitting, predicting and scoring."""

    @property
    def row(self) -> str:
        """Returns the name of the row in a table."""
        return self.model if self.method == "linear" else f"{self.model}, {self.method}"

    def primary(self) -> score.Scored:
        """Returns the score that models are compared by."""
        name = score.primary(self.task).name
        return next(one for one in self.scores if one.name.startswith(name))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Comparison of two rows of a table on one task."""

    task: str
    first: str
    second: str
    score: str
    difference: comparison.Difference
    p_holm: float
    """Adjusted for all comparisons of the evaluation."""

    @property
    def is_significant(self) -> bool:
        return self.p_holm < ALPHA

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "first": self.first,
            "second": self.second,
            "score": self.score,
            "difference": score.plain(self.difference.value),
            "low": score.plain(self.difference.interval.low),
            "high": score.plain(self.difference.interval.high),
            "p_value": score.plain(self.difference.p_value),
            "p_holm": score.plain(self.p_holm),
        }


def compare(results: Sequence[Result], *, num_resamples: int, seed: int) -> list[Comparison]:
    """Compares the first row of each task with each other row of the same recordings."""
    pairs = list(_pairs(results))
    # A p-value is at least 1 / (permutations + 1): with few, none is significant when corrected.
    num_permutations = max(num_resamples, math.ceil(2 * len(pairs) / ALPHA))
    compared: list[tuple[Result, Result, comparison.Difference]] = []
    for first, other in pairs:
        difference = comparison.paired(
            score.primary(first.task).score,
            first.predictions.target,
            first.predictions.predicted,
            other.predictions.predicted,
            first.predictions.patient,
            num_resamples=num_resamples,
            num_permutations=num_permutations,
            seed=seed,
        )
        if np.isfinite(difference.value):
            compared.append((first, other, difference))
    adjusted = comparison.holm([difference.p_value for _, _, difference in compared])
    return [
        Comparison(
            first.task.name,
            first.row,
            other.row,
            score.primary(first.task).name,
            difference,
            float(p_holm),
        )
        for (first, other, difference), p_holm in zip(compared, adjusted, strict=True)
    ]


def _pairs(results: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """Yields the first row of each task with each other row that predicted the same recordings."""
    by_task: dict[str, list[Result]] = {}
    for result in results:
        if result.label_fraction == 1:
            by_task.setdefault(result.task.name, []).append(result)
    for first, *others in by_task.values():
        for other in others:
            a, b = first.predictions, other.predictions
            if np.array_equal(a.patient, b.patient) and a.target.shape == b.target.shape:
                yield first, other


def notes(results: Sequence[Result]) -> list[str]:
    """Returns sentences about classes that the test recordings do not distinguish."""
    first = results[0]
    name, predictions = first.task.name, first.predictions
    absent = next((one.absent for one in first.scores if one.absent), ())
    if first.task.is_classification and not np.isfinite(first.primary().value):
        return [
            f"{name}: the {len(predictions.target)} test recordings are all alike in every class, "
            "so no score that compares classes is defined. More test patients are needed."
        ]
    if absent:
        return [
            f"{name}: the means leave out {', '.join(absent)}, because all test recordings are "
            "alike in them."
        ]
    return []


def console_table(results: Sequence[Result]) -> rich.table.Table:
    """Returns the main scores of the models on one task, as a table for the console.

    Models that were fitted to fewer labels have the mean of their main score over the samples of
    labels.
    """
    task, predictions = results[0].task, results[0].predictions
    shown = [scored for result in results for scored in result.scores if scored.in_table]
    names = list(dict.fromkeys(scored.name for scored in shown))
    how = "cross-validated by patient" if predictions.cross_validated else "test recordings"
    title = (
        f"{task.name}: {len(predictions.target):,} recordings of "
        f"{len(np.unique(predictions.patient)):,} patients, {how}, lead {task.lead}"
    )
    table = rich.table.Table("model", *names, title=title)
    values_of: dict[str, list[float]] = {}
    for result in results:
        if result.label_fraction < 1:
            row = f"{result.row}, {result.label_fraction:.3g} of labels"
            values_of.setdefault(row, []).append(result.primary().value)
            continue
        cells = {scored.name: str(scored) for scored in result.scores}
        table.add_row(result.row, *(cells.get(name, "") for name in names))
    for row, values in values_of.items():
        defined = [value for value in values if np.isfinite(value)]
        mean = f"{np.mean(defined):.3g}, mean of {len(defined)}" if defined else "not defined"
        table.add_row(row, mean)
    return table


def write(
    results: Sequence[Result],
    out: pathlib.Path,
    about: Mapping[str, Any],
    compared: Sequence[Comparison] = (),
) -> None:
    """Writes the results so far as JSON, CSV and Parquet, each file complete or not at all.

    Args:
        about: settings, fingerprints and costs, as JSON values.
    """
    out.mkdir(parents=True, exist_ok=True)
    lines = [line for result in results for line in _lines(result)]
    comparisons = [one.to_json() for one in compared]
    content = {**about, "results": lines, "comparisons": comparisons}
    files.write_text(out / "results.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    table = out / "results.csv"
    with files.appearing(table) as half, half.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    with files.appearing(out / "results.parquet") as half, duckdb.connect() as database:
        database.read_csv(str(table)).write_parquet(str(half))


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    predictions = result.predictions
    for one in result.scores:
        yield {
            "task": result.task.name,
            "model": result.model,
            "method": result.method,
            "lead": result.task.lead,
            "layer": predictions.layer,
            "label_share": result.label_fraction,
            "seed": result.seed,
            **one.to_json(),
            "num_train": predictions.num_train,
            "num_recordings": len(predictions.target),
            "num_patients": len(np.unique(predictions.patient)),
            "num_left_out": predictions.num_left_out,
            "cross_validated": predictions.cross_validated,
        }
