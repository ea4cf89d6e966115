"""Scores features on the panel: each task's main score, their mean, and intervals over patients.

Shapes: N recordings, P patients of a data set, R resamples.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import rich.console

from clef_jax.data import index as index_lib
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import adaptation, bench, feature_source, prediction, probe, score
from clef_jax.evaluation.feature_source import FeatureSource, Model
from clef_jax.evaluation.prediction import Predictions, Protocol
from clef_jax.evaluation.settings import LAST
from clef_jax.speedrunning.panel import LEAD, SCORED, Panel, PanelTask
from clef_jax.statistics import bootstrap

FEW_LABELS = 0.1
"""Fraction of the training patients whose labels are used, beside the score."""
NUM_DRAWS = 3
"""Random samples of patients for this fraction."""
SEED = 0
"""Seed of folds, samples of patients and bootstrap samples; the same for all rows."""

Predict = Callable[[PanelTask, float, int], Predictions]
"""Maps a task, a fraction of the labels and a seed to predictions of the test recordings."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """A score with its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {name: score.plain(value) for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class PanelScores:
    """Scores of one model on the panel."""

    score: Scored
    """Mean of the tasks' main scores at all labels."""
    tasks: dict[str, dict[str, Any]]
    """Score, counts and test set of each task, as JSON values, by its name."""
    few_labels: float | None
    """Mean of the tasks' main scores at `FEW_LABELS`; None if it was not measured."""

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score.to_json(),
            "few_labels": {"fraction": FEW_LABELS, "score": self.few_labels},
            "tasks": self.tasks,
        }


def of_model(model: Model, panel: Panel, cache_dir: pathlib.Path, console: Any) -> Predict:
    """Returns a function that predicts with a logistic or ridge probe on a model's last layer.

    Args:
        model: encoder or other source of features.
        panel: tasks.
        cache_dir: folder for embeddings, which are computed once.
        console: shows progress.
    """
    splits: dict[tuple[str, str], dict[str, Embedded]] = {}
    widths = model.widths if isinstance(model, FeatureSource) else ()
    fit = functools.partial(probe.fit, method="linear", widths=widths)

    def predict(part: PanelTask, fraction: float, seed: int) -> Predictions:
        folder = part.folder
        adapted = adaptation.adapt(model, folder, LEAD, part.hold_out, cache_dir)
        key = part.task.dataset, adapted.fingerprint
        if key not in splits:
            splits[key] = {
                name: feature_source.embed(
                    adapted, index_lib.load(folder, name), LEAD, cache_dir, console
                )
                for name in index_lib.splits(folder)
            }
        layers = bench.layers_of(adapted, LAST)
        made = protocol(part, fraction, seed)
        return prediction.predict(
            part.task, splits[key], layers, dataclasses.replace(made, fit=fit)
        )

    return predict


def protocol(part: PanelTask, fraction: float, seed: int) -> Protocol:
    """Returns how a task of the panel is fitted and tested."""
    return Protocol(
        label_fraction=fraction,
        hold_out=part.hold_out,
        cross_validate=part.cross_validate,
        seed=seed,
    )


def compute(
    predict: Predict,
    panel: Panel,
    console: rich.console.Console,
    *,
    num_resamples: int,
    with_few_labels: bool = True,
) -> PanelScores:
    """Returns the scores of a model on the panel, and prints each.

    Args:
        predict: predicts the test recordings of a task.
        panel: tasks.
        console: receives a line per task.
        num_resamples: R.
        with_few_labels: whether to predict with `FEW_LABELS` too.

    Raises:
        UserError: a task cannot be fitted, or its score is not defined.
    """
    predictions = {part.task.name: predict(part, 1.0, SEED) for part in panel.tasks}
    weights = _weights(panel, predictions, num_resamples)
    rows: dict[str, dict[str, Any]] = {}
    resampled: list[np.ndarray] = []
    for part in panel.tasks:
        name = part.task.name
        rows[name], of_resamples = _task_row(part, predictions[name], weights[name])
        if name in SCORED:
            resampled.append(of_resamples)
        if with_few_labels:
            few = list(_few_label_scores(part, predict))
            rows[name]["few_labels"] = float(np.mean(few)) if few else None
        console.print(
            f"{name}: {rows[name]['measure']} {rows[name]['value']:.3f}, "
            f"{rows[name]['num_patients']} patients, {part.tested}",
            soft_wrap=True,
            markup=False,
        )
    scored = [rows[part.task.name] for part in panel.scored]
    value = float(np.mean([row["value"] for row in scored]))
    fewest = min(row["num_patients"] for row in scored)
    mean = _scored(value, np.mean(resampled, axis=0), fewest)
    few = [row.get("few_labels") for row in scored]
    known = [value for value in few if value is not None]
    return PanelScores(mean, rows, float(np.mean(known)) if len(known) == len(few) else None)


def _task_row(
    part: PanelTask, predictions: Predictions, weight: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns score and counts of a task as JSON values, and the score in the resamples, [R]."""
    value, resampled = _main_score(part, predictions, weight)
    num_patients = len(np.unique(predictions.patient))
    row = {
        "measure": score.primary(part.task).name,
        **_scored(value, resampled, num_patients).to_json(),
        "unit": part.task.unit,
        "tested": part.tested,
        "num_patients": num_patients,
        "num_recordings": len(predictions.target),
        "num_train": predictions.num_train,
    }
    return row, resampled


def _few_label_scores(part: PanelTask, predict: Predict) -> Iterator[float]:
    """Yields the main score of each sample of patients with both outcomes."""
    for draw in range(NUM_DRAWS):
        try:
            yield _main_score(part, predict(part, FEW_LABELS, SEED + draw), None)[0]
        except UserError as error:
            if error.problem not in ("one_class", "no_targets"):
                raise


def _main_score(
    part: PanelTask, predictions: Predictions, weight: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """Returns the main score of a task, and its values in the resamples, [R].

    Raises:
        UserError: the score is not defined.
    """
    compute_score = score.primary(part.task).score
    data = predictions.target, predictions.predicted
    value = float(compute_score(*data))
    if not np.isfinite(value):
        raise UserError(
            f"The score of {part.task.name} is not defined: its "
            f"{len(predictions.target)} test recordings do not have both outcomes. More test "
            "patients are needed.",
            problem="undefined_score",
        )
    return value, np.zeros(0) if weight is None else compute_score(*data, weight)


def _weights(
    panel: Panel, predictions: Mapping[str, Predictions], num_resamples: int
) -> dict[str, np.ndarray]:
    """Returns how often each recording of a task is in each resample, [R, N], by task.

    Tasks on the same data set have the same resamples of its patients, so that the interval of the
    mean accounts for the patients that they share.
    """
    weights: dict[str, np.ndarray] = {}
    for dataset in dict.fromkeys(part.task.dataset for part in panel.tasks):
        names = [part.task.name for part in panel.tasks if part.task.dataset == dataset]
        patients = np.unique(np.concatenate([predictions[name].patient for name in names]))
        drawn = bootstrap.patient_weights(patients, num_resamples, SEED)
        for name in names:
            weights[name] = drawn[:, np.searchsorted(patients, predictions[name].patient)]
    return weights


def _scored(value: float, resampled: np.ndarray, num_patients: int) -> Scored:
    interval = bootstrap.interval(resampled, num_patients)
    return Scored(value, interval.low, interval.high)
