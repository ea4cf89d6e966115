"""Results of an evaluation: their comparison, console tables, and JSON, CSV and Parquet files."""

import csv
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rich.table

from clef_jax import files
from clef_jax.errors import counted
from clef_jax.evaluation import score
from clef_jax.evaluation.geometry import Geometry
from clef_jax.evaluation.prediction import Predictions
from clef_jax.statistics import classification, comparison
from clef_jax.tasks import Task

_MOST_NAMES = 8
"""Largest number of absent classes that a sentence names."""
ALPHA = 0.05
"""Significance level of a difference, after Holm's correction."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Predictions and scores of one model on one task, with one method and label fraction."""

    task: Task
    model: str
    """Name of the model."""
    method: str
    """`linear`, `knn` or `finetune`."""
    label_fraction: float
    """Fraction of the training patients whose labels were used."""
    seed: int
    """Seed of the folds, and of the patients whose labels were used."""
    predictions: Predictions
    scores: tuple[score.Scored, ...]
    seconds: float
    """Time for fitting, predicting and scoring."""

    @property
    def row(self) -> str:
        """Returns the name of the model's row in tables, with the method unless it is linear."""
        return self.model if self.method == "linear" else f"{self.model}, {self.method}"

    def primary(self) -> score.Scored:
        """Returns the score by which models are compared."""
        name = score.primary(self.task).name
        return next(scored for scored in self.scores if scored.name.startswith(name))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Comparison of two rows of a table on one task."""

    task: str
    first: str
    second: str
    score: str
    difference: comparison.Difference
    p_holm: float
    """p-value with Holm's correction for all comparisons of the evaluation."""

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
    """Compares the first row of each task with each other row that predicted the same recordings.

    Args:
        results: Results of all tasks.
        num_resamples: Number of resamples for each interval, and at least that many permutations.
        seed: Seed of resamples and permutations.
    """
    pairs = list(_pairs(results))
    # A p-value is at least 1 / (num_permutations + 1), so with too few permutations no corrected
    # p-value could be significant.
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
    """Returns sentences about scores that are not defined, and about constant predictions."""
    first = results[0]
    name, target = first.task.name, first.predictions.target
    absent = next((scored.absent for scored in first.scores if scored.absent), ())
    sentences = []
    if first.task.is_classification and not classification.has_both_classes(target).any():
        sentences.append(
            f"{name}: all {counted(len(target), 'test recording')} have the same target in every "
            "class, so scores that compare classes are not defined. More test patients are needed."
        )
    elif absent:
        shown = [*absent[:_MOST_NAMES], *(["…"] if len(absent) > _MOST_NAMES else [])]
        verb = "is" if len(absent) == 1 else "are"
        sentences.append(
            f"{name}: {len(absent)} of {counted(target.shape[1], 'class')} {verb} absent from mean "
            f"scores, because all test recordings have the same target there: {', '.join(shown)}."
        )
    for reason, is_so in _REASONS.items():
        rows = dict.fromkeys(result.row for result in results if is_so(result.predictions))
        if rows:
            sentences.append(f"{name}: {reason}: {', '.join(rows)}.")
    return sentences


_REASONS: dict[str, Callable[[Predictions], bool]] = {
    "predictions are constant, in the test set or within each fold, by": lambda predictions: bool(
        predictions.constant.all()
    ),
    "scores are not defined, because a prediction is not a number, by": lambda predictions: bool(
        np.isnan(predictions.predicted).any()
    ),
}
"""Sentences about predictions, without the rows of the table to which they apply."""


def console_table(results: Sequence[Result]) -> rich.table.Table:
    """Returns a table for the console of the models' main scores on one task.

    A label fraction below 1 has a row with the mean of the primary score over the samples of
    patients.
    """
    task, predictions = results[0].task, results[0].predictions
    shown = [scored for result in results for scored in result.scores if scored.in_table]
    names = list(dict.fromkeys(scored.name for scored in shown))
    tested = "cross-validated by patient" if predictions.cross_validated else "in the test set"
    title = (
        f"{task.name}: {counted(len(predictions.target), 'recording')} of "
        f"{counted(len(np.unique(predictions.patient)), 'patient')}, {tested}, lead {task.lead}"
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
        mean = f"{np.mean(defined):.3g}, mean of {len(defined)}" if defined else score.UNDEFINED
        table.add_row(row, mean)
    return table


def write(
    results: Sequence[Result],
    out: pathlib.Path,
    about: Mapping[str, Any],
    compared: Sequence[Comparison] = (),
    geometries: Sequence[Geometry] = (),
) -> None:
    """Writes results.json, results.csv and results.parquet, each atomically.

    Args:
        results: Results so far.
        out: Folder to write to.
        about: Settings, fingerprints and costs, as JSON values.
        compared: Comparisons of models.
        geometries: Geometries of the embeddings so far.
    """
    files.make_folder(out)
    lines = [line for result in results for line in _lines(result)]
    content = {
        **about,
        "results": lines,
        "comparisons": [item.to_json() for item in compared],
        "geometry": [line for measured in geometries for line in measured.to_json()],
    }
    files.write_text(out / "results.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    with (
        files.atomic_file(out / "results.csv") as half,
        half.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, _COLUMNS.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: files.spreadsheet_text(v) if isinstance(v, str) else v for k, v in line.items()}
            for line in lines
        )
    with files.atomic_file(out / "results.parquet") as half:
        pq.write_table(pa.Table.from_pylist(lines, _COLUMNS), half)


def check_outputs(out: pathlib.Path, *, overwrite: bool) -> None:
    """Raises UserError if a result file exists that no evaluation wrote, or none can be written.

    Args:
        out: Folder to write to.
        overwrite: Whether any existing files may be replaced.
    """
    files.check_output_folder(out)
    names = ("results", "comparisons")
    head = ",".join(_COLUMNS.names[:6])
    for name, is_ours in {
        "results.json": lambda path: files.is_json_with(path, names),
        "results.csv": lambda path: files.starts_with(path, head),
        "results.parquet": _is_result_table,
    }.items():
        files.check_output(out / name, is_ours, overwrite=overwrite)


def _is_result_table(path: pathlib.Path) -> bool:
    try:
        return pq.read_schema(path).names[:6] == _COLUMNS.names[:6]
    except (OSError, pa.ArrowException):
        return False


_COLUMNS = pa.schema(
    {
        **dict.fromkeys(("task", "model", "method", "lead", "layer"), pa.string()),
        "label_share": pa.float64(),
        "seed": pa.int64(),
        "score": pa.string(),
        **dict.fromkeys(("value", "low", "high"), pa.float64()),
        **dict.fromkeys(("unit", "absent"), pa.string()),
        "num_resamples": pa.int64(),
        "constant_predictions": pa.bool_(),
        **dict.fromkeys(("num_train", "num_recordings", "num_patients"), pa.int64()),
        "num_left_out": pa.int64(),
        "cross_validated": pa.bool_(),
    }
)
"""Columns of the tables; those of earlier versions begin alike."""


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    """Yields a flat JSON object for each score of a result."""
    predictions = result.predictions
    for scored in result.scores:
        yield {
            "task": result.task.name,
            "model": result.model,
            "method": result.method,
            "lead": result.task.lead,
            "layer": predictions.layer,
            "label_share": result.label_fraction,
            "seed": result.seed,
            **scored.to_json(),
            "num_train": predictions.num_train,
            "num_recordings": len(predictions.target),
            "num_patients": len(np.unique(predictions.patient)),
            "num_left_out": predictions.num_excluded,
            "cross_validated": predictions.cross_validated,
        }
