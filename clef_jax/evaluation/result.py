"""What came of an evaluation, and its files: results.json, results.csv, results.parquet."""

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
"""Below it a difference is called one, after Holm's correction."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One model on one task, asked in one way."""

    task: Task
    model: str
    method: str
    """Of the probe: linear, knn or finetune."""
    label_share: float
    """Of the training patients' labels."""
    seed: int
    answers: Predictions
    scores: tuple[score.Scored, ...]
    seconds: float
    """That fitting and predicting took."""

    @property
    def row(self) -> str:
        """What a table calls it."""
        return self.model if self.method == "linear" else f"{self.model}, {self.method}"

    def primary(self) -> score.Scored:
        """The score that models are compared by; its name may carry the only output's."""
        name = score.primary(self.task).name
        return next(one for one in self.scores if one.name.startswith(name))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows of a table on one task."""

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
    """The first row of each task against every other one that answered for the same recordings."""
    pairs = list(_pairs(results))
    # A p-value is at least 1 / (lots + 1): few lots could never be significant after correction.
    num_permutations = max(num_resamples, math.ceil(2 * len(pairs) / ALPHA))
    found: list[tuple[Result, Result, comparison.Difference]] = []
    for first, other in pairs:
        difference = comparison.paired(
            score.primary(first.task).score,
            first.answers.target,
            first.answers.predicted,
            other.answers.predicted,
            first.answers.patient,
            num_resamples=num_resamples,
            num_permutations=num_permutations,
            seed=seed,
        )
        if np.isfinite(difference.value):
            found.append((first, other, difference))
    adjusted = comparison.holm([difference.p_value for _, _, difference in found])
    return [
        Comparison(
            first.task.name,
            first.row,
            other.row,
            score.primary(first.task).name,
            difference,
            float(p_holm),
        )
        for (first, other, difference), p_holm in zip(found, adjusted, strict=True)
    ]


def _pairs(results: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """The first row of each task with each other one that answered for the same recordings."""
    by_task: dict[str, list[Result]] = {}
    for result in results:
        if result.label_share == 1:
            by_task.setdefault(result.task.name, []).append(result)
    for first, *others in by_task.values():
        for other in others:
            one, two = first.answers, other.answers
            if np.array_equal(one.patient, two.patient) and one.target.shape == two.target.shape:
                yield first, other


def notes(found: Sequence[Result]) -> list[str]:
    """Sentences about a task's results that a reader must know: what could not be told apart."""
    first = found[0]
    name, answers = first.task.name, first.answers
    absent = next((one.absent for one in first.scores if one.absent), ())
    if first.task.is_classification and not np.isfinite(first.primary().value):
        return [
            f"{name}: the {len(answers.target)} test recordings are all alike in every class, so "
            "no score that compares classes is defined. More test patients are needed."
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
    task, answers = results[0].task, results[0].answers
    shown = [scored for result in results for scored in result.scores if scored.in_table]
    names = list(dict.fromkeys(scored.name for scored in shown))
    how = "cross-validated by patient" if answers.cross_validated else "test recordings"
    title = (
        f"{task.name}: {len(answers.target):,} recordings of "
        f"{len(np.unique(answers.patient)):,} patients, {how}, lead {task.lead}"
    )
    table = rich.table.Table("model", *names, title=title)
    values_of: dict[str, list[float]] = {}
    for result in results:
        if result.label_share < 1:
            row = f"{result.row}, {result.label_share:.3g} of labels"
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
    """Writes what is known so far, as JSON, CSV and Parquet; a reader never sees half a file.

    Args:
        about: settings, fingerprints, costs: whatever JSON can hold.
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
    answers = result.answers
    for one in result.scores:
        yield {
            "task": result.task.name,
            "model": result.model,
            "method": result.method,
            "lead": result.task.lead,
            "layer": answers.layer,
            "label_share": result.label_share,
            "seed": result.seed,
            **one.to_json(),
            "num_train": answers.num_train,
            "num_recordings": len(answers.target),
            "num_patients": len(np.unique(answers.patient)),
            "num_left_out": answers.num_left_out,
            "cross_validated": answers.cross_validated,
        }
