"""Fits the head of labelled recordings: cross-validation, calibration, thresholds, intervals, and
the final head on all recordings.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.answers import calibration as calibration_lib, conformal, threshold
from clef_jax.answers.calibration import Quality
from clef_jax.answers.fitted import Fitted
from clef_jax.answers.threshold import Achieved, Rule
from clef_jax.embedding.head import Calibration, Head
from clef_jax.embedding.trainable import Trainable
from clef_jax.evaluation import score
from clef_jax.evaluation.examples import Examples
from clef_jax.evaluation.prediction import NUM_FOLDS, Predictions
from clef_jax.evaluation.result import Result
from clef_jax.fitting import cross_validation, method as method_lib
from clef_jax.fitting.cross_validation import CrossValidated
from clef_jax.fitting.dataset import Dataset
from clef_jax.fitting.method import LINEAR, Method
from clef_jax.tasks import Task

_AGE_STEP_YEARS = 5
"""Step to which the range of ages is rounded outwards, so that it is no patient's age."""
_OLDEST_YEARS = 90
"""Ages above are stated as this one plus a step."""
_MIN_AGES = 10
"""Smallest number of patients of known age with which a range is stated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a head is fitted and scored."""

    rule: Rule = Rule()
    """How thresholds are chosen."""
    coverage: float = 0.9
    """Coverage of the intervals of a regression."""
    num_resamples: int = 1000
    """Number of resamples of the patients for each interval of a score."""
    seed: int = 0
    """Seed of folds and resamples."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """Calibration and thresholds of a classifier, measured by cross-validation."""

    before: Quality
    """Calibration of the probabilities of the heads themselves."""
    after: Quality
    """Calibration after it was fitted to other patients."""
    probability: np.ndarray
    """Calibrated probabilities, each fitted to other patients, [N, K]."""
    decided: np.ndarray
    """Decisions by thresholds that were chosen on other patients, 0 or 1, [N, K]."""
    achieved: Achieved
    """Sensitivity and specificity of these decisions."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FittedHead:
    """A head and what is known about its answers."""

    head: Head
    results: tuple[Result, ...]
    """Cross-validated predictions and scores of the head, and of what it is compared with."""
    checked: Checked | None
    """None for a regression."""
    covered: np.ndarray | None
    """Fraction of recordings inside of the intervals, [K]; None for a classifier."""
    encoder: Trainable | None = None
    """The fine-tuned encoder that the head belongs to; None if the encoder is frozen."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the comparison: what a head reads, and how it is fitted."""

    name: str
    """Name of what is read."""
    features: tuple[str, ...]
    """Names of the features, among those of the labelled recordings, that stand side by side."""
    method: str = LINEAR
    """Name of the method, out of `METHODS`."""
    fit: Method | None = None
    """The method; by default a linear head."""


def fit(
    dataset: Dataset,
    rows: Sequence[Row],
    *,
    layer: str,
    head_features: tuple[str, ...],
    options: Options,
) -> FittedHead:
    """Returns the fitted head.

    Args:
        dataset: labelled recordings.
        rows: rows of the comparison; the first is the head's.
        layer: layer of the encoder that the head reads.
        head_features: groups of features that the head reads; see `Head.features`.
        options: how to fit and score.

    Raises:
        UserError: the labels do not allow a cross-validation.
    """
    examples = [_examples(dataset, row.features) for row in rows]
    fold, seed = cross_validation.make_folds(examples[0], dataset.kind, options.seed)
    options = dataclasses.replace(options, seed=seed)
    results, own = [], None
    for row, of_row in zip(rows, examples, strict=True):
        start = time.monotonic()
        validated = cross_validation.predict(
            dataset.kind, of_row, fold, fit=_method(dataset, row), seed=options.seed
        )
        checked = _check(dataset, validated, options)
        own = own or (validated, checked)
        results.append(_result(dataset, row, layer, validated, checked, options, start))
    assert own is not None
    # The head itself is fitted to all recordings; the rest comes from the cross-validation.
    final = _method(dataset, rows[0])(dataset.kind, examples[0], options.seed)
    head = _head(dataset, final.arrays(), own[0], options)
    covered = None
    if head.half_width is not None:
        error = own[0].predicted - dataset.target
        covered = _covered(error, dataset.patient, fold, options.coverage)
    return FittedHead(
        head=dataclasses.replace(head, layer=layer, features=head_features),
        results=tuple(results),
        checked=own[1],
        covered=covered,
        encoder=final.encoder,
    )


def _examples(dataset: Dataset, parts: Sequence[str]) -> Examples:
    features = np.concatenate([dataset.features[name] for name in parts], axis=1)
    return Examples(features.astype(np.float32), dataset.target, dataset.patient)


def _method(dataset: Dataset, row: Row) -> Method:
    widths = tuple(dataset.features[name].shape[1] for name in row.features)
    return row.fit or method_lib.linear(widths if len(widths) > 1 else ())


def _check(dataset: Dataset, validated: CrossValidated, options: Options) -> Checked | None:
    """Returns what calibration and thresholds do for patients that they were not fitted to."""
    if dataset.kind == "regression":
        return None
    target, logits, fold = dataset.target, validated.logits, validated.fold
    method = calibration_lib.choose(dataset.kind, target, dataset.patient)
    probability = calibration_lib.cross_fitted(method, dataset.kind, logits, target, fold)
    decided = np.full(target.shape, np.nan)
    for number in np.unique(fold):
        inside = fold == number
        if dataset.kind == "multiclass":
            decided[inside] = np.eye(target.shape[1])[probability[inside].argmax(axis=1)]
            continue
        # The threshold of this fold is chosen on the other folds, calibrated as this fold is.
        others = calibration_lib.fit(method, dataset.kind, logits[~inside], target[~inside])
        known = calibration_lib.probabilities(dataset.kind, logits[~inside], others)
        chosen = threshold.choose(target[~inside], known, options.rule)
        decided[inside] = probability[inside] >= chosen
    return Checked(
        before=calibration_lib.measure(target, validated.predicted),
        after=calibration_lib.measure(target, probability),
        probability=probability,
        decided=decided,
        achieved=threshold.measure(target, decided, np.full(target.shape[1], 0.5)),
    )


def _result(
    dataset: Dataset,
    row: Row,
    layer: str,
    validated: CrossValidated,
    checked: Checked | None,
    options: Options,
    start: float,
) -> Result:
    """Returns predictions and scores of a row of the comparison."""
    decided = np.full_like(validated.predicted, np.nan) if checked is None else checked.decided
    predictions = Predictions(
        outputs=dataset.outputs,
        target=dataset.target,
        predicted=validated.predicted,
        decided=decided,
        patient=dataset.patient,
        age_years=dataset.age_years,
        male=dataset.male,
        strength=validated.strength,
        layer=layer,
        num_train=max(int((validated.fold != f).sum()) for f in np.unique(validated.fold)),
        cross_validated=True,
        num_excluded=sum(not row.used for row in dataset.rows if row.line is not None),
        fold=validated.fold,
    )
    task = as_task(dataset)
    scores = score.compute(
        task, predictions, num_resamples=options.num_resamples, seed=options.seed
    )
    return Result(
        task,
        row.name,
        row.method,
        1.0,
        options.seed,
        predictions,
        tuple(scores),
        time.monotonic() - start,
    )


def as_task(dataset: Dataset) -> Task:
    """Returns the labels as a task, which scores and curves take."""
    return Task(
        dataset="labels",
        kind=dataset.kind,  # pyright: ignore[reportArgumentType]
        outputs=dataset.outputs,
        target=lambda example: np.asarray(example["target"]),
        description="Labels of the user.",
        name="labels",
    )


def _head(
    dataset: Dataset,
    arrays: Mapping[str, Any],
    validated: CrossValidated,
    options: Options,
) -> Head:
    """Returns the head with the given arrays; its layer is set by the caller.

    Calibration, thresholds and intervals come from the cross-validated predictions.
    """
    calibration, chosen, prevalence, half_width = _answers(dataset, validated, options)
    return Head(
        **arrays,
        names=dataset.outputs,
        layer="",
        kind=dataset.kind,
        calibration=calibration,
        threshold=chosen,
        prevalence=prevalence,
        half_width=half_width,
        coverage=None if half_width is None else options.coverage,
        fitted=_facts(dataset, options).to_json(),
    )


def _answers(
    dataset: Dataset, validated: CrossValidated, options: Options
) -> tuple[Calibration | None, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Returns calibration, threshold, prevalence and half-width, each None where not defined."""
    target, patient = dataset.target, dataset.patient
    if dataset.kind == "regression":
        width = conformal.half_width(validated.predicted - target, patient, options.coverage)
        return None, None, None, width if np.isfinite(width).all() else None
    method = calibration_lib.choose(dataset.kind, target, patient)
    calibration = calibration_lib.fit(method, dataset.kind, validated.logits, target)
    chosen = None
    if dataset.kind != "multiclass":
        known = calibration_lib.probabilities(dataset.kind, validated.logits, calibration)
        chosen = threshold.choose(target, known, options.rule)
    return calibration, chosen, target.mean(axis=0), None


def _covered(
    error: np.ndarray, patient: np.ndarray, fold: np.ndarray, coverage: float
) -> np.ndarray:
    """Returns the fraction of recordings inside of intervals of other folds, [K]."""
    inside = np.zeros(error.shape)
    for number in np.unique(fold):
        held_out = fold == number
        width = conformal.half_width(error[~held_out], patient[~held_out], coverage)
        inside[held_out] = np.abs(error[held_out]) > width
    return conformal.covered(inside, patient, np.full(error.shape[1], 0.5))


def _facts(dataset: Dataset, options: Options) -> Fitted:
    """Returns what a model folder may state about the labelled recordings."""
    positives = {}
    if dataset.kind != "regression":
        counts = dataset.target.sum(axis=0).astype(int).tolist()
        positives = dict(zip(dataset.outputs, counts, strict=True))
    rates = dataset.sample_rate_hz
    return Fitted(
        recordings=len(dataset.target),
        patients=dataset.num_patients if dataset.knows_patients else None,
        positives=positives,
        leads=dataset.leads,
        sample_rate_hz=(float(rates.min()), float(rates.max())),
        age_years=_age_range(dataset),
        split=f"{NUM_FOLDS}-fold cross-validation by patient, seed {options.seed}.",
    )


def _age_range(dataset: Dataset) -> tuple[float, float] | None:
    """Returns the range of ages, rounded outwards; None if few are known."""
    known = np.isfinite(dataset.age_years)
    if len(np.unique(dataset.patient[known])) < _MIN_AGES:
        return None
    ages = np.minimum(dataset.age_years[known], _OLDEST_YEARS)
    step = _AGE_STEP_YEARS
    low, high = math.floor(ages.min() / step) * step, math.ceil((ages.max() + 1e-9) / step) * step
    return float(low), float(120 if high > _OLDEST_YEARS or ages.max() == _OLDEST_YEARS else high)
