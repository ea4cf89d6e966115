"""Keeps the heads of an evaluation: model folders that answer the questions of its tasks.

Shapes: N recordings, K outputs.
"""

import dataclasses
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from clef_jax.answers import calibration as calibration_lib, conformal
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import encoder as encoder_lib, foreign_folder
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import ISOTONIC, PLATT, Calibration, Head
from clef_jax.evaluation import prediction, probe
from clef_jax.evaluation.attention import Attention
from clef_jax.evaluation.prediction import Division, Predictions, Protocol
from clef_jax.evaluation.settings import LAST
from clef_jax.tasks import Task

COVERAGE = 0.9
"""Coverage of the intervals of numbers."""
_LEAST = 1e-12
"""Probabilities are kept this far from 0 and 1, so that their logits are finite."""


class _Known(NamedTuple):
    """Predictions for recordings that the head, or one like it, was not fitted to."""

    target: np.ndarray
    """Targets, [N, K]."""
    predicted: np.ndarray
    """Probabilities that are not calibrated, or values, [N, K]."""
    patient: np.ndarray
    """Number of each recording's patient, [N]."""


def keep(
    model: Embedder | ForeignEncoder,
    task: Task,
    division: Division,
    protocol: Protocol,
    predictions: Predictions,
    folder: pathlib.Path,
) -> pathlib.Path:
    """Writes an encoder and its head for a task as a model folder, and returns the folder.

    The head is the one that predicted the test recordings. After a cross-validation it is fitted to
    all recordings; its probabilities and intervals are then calibrated by the cross-validated
    predictions, and otherwise by the validation split, if there is one. Decisions are those of the
    evaluation: thresholds have the best F1 on the validation data.

    Args:
        model: the encoder.
        task: the task.
        division: its recordings.
        protocol: how the head was fitted, to a linear or attention probe.
        predictions: what the evaluation predicted.
        folder: folder of the heads of a task and a method; that of the model is made in it.

    Raises:
        UserError: the folder holds other files, or cannot be written.
    """
    best = prediction.fit(task, division.train, division.validation, protocol)
    known = _known(best, division, predictions)
    name = list(model.layers)[-1] if best.layer == LAST else best.layer
    encoder_lib.layer_slice(model, name)
    head = Head(
        **_arrays(best.probe),
        names=division.outputs,
        layer=name,
        kind=task.kind,
        fitted=_facts(task, division).to_json(),
    )
    path = folder / re.sub(r"[^\w.-]+", "_", model.name)
    return foreign_folder.save_any(model, path, head=_answering(head, best, division, known))


def _known(
    best: prediction.LayerProbe, division: Division, predictions: Predictions
) -> _Known | None:
    if predictions.cross_validated:
        return _Known(predictions.target, predictions.predicted, predictions.patient)
    validation = division.validation
    if validation is None or not len(validation):
        return None
    predicted = best.predict(validation)[0]
    return _Known(validation.target, predicted, validation.patient)


def _arrays(fitted: object) -> dict[str, Any]:
    if isinstance(fitted, Attention):
        return fitted.head_arrays()
    assert isinstance(fitted, probe.Probe)
    return probe.head_arrays(fitted)


def _answering(
    head: Head, best: prediction.LayerProbe, division: Division, known: _Known | None
) -> Head:
    """Returns a head with calibration and thresholds, or with intervals."""
    if head.kind == "regression":
        if known is None:
            return head
        width = conformal.half_width(known.predicted - known.target, known.patient, COVERAGE)
        is_finite = bool(np.isfinite(width).all())
        return dataclasses.replace(
            head,
            half_width=width if is_finite else None,
            coverage=COVERAGE if is_finite else None,
        )
    calibration = None if known is None else _calibration(head.kind, known)
    threshold = None
    if head.kind != "multiclass":
        # A calibration keeps the order, so that the calibrated threshold decides as the other one.
        logits = _logits(head.kind, np.asarray(best.probe.threshold))
        threshold = calibration_lib.probabilities(head.kind, logits, calibration)
    return dataclasses.replace(
        head,
        calibration=calibration,
        threshold=threshold,
        prevalence=(division.train if known is None else known).target.mean(axis=0),
    )


def _calibration(kind: str, known: _Known) -> Calibration | None:
    """Returns the calibration of a classifier; None if an output has one class only."""
    target = known.target
    if (target == target[:1]).all(axis=0).any():
        return None
    method = calibration_lib.choose(kind, target, known.patient)
    # The steps of an isotonic calibration would change decisions near the threshold.
    method = PLATT if method == ISOTONIC else method
    return calibration_lib.fit(method, kind, _logits(kind, known.predicted), target)


def _logits(kind: str, probability: np.ndarray) -> np.ndarray:
    probability = np.clip(probability, _LEAST, 1 - _LEAST)
    return np.log(probability) if kind == "multiclass" else scipy.special.logit(probability)


def _facts(task: Task, division: Division) -> Fitted:
    train, positives = division.train, {}
    if task.kind != "regression":
        counts = train.target.sum(axis=0).astype(int).tolist()
        positives = dict(zip(division.outputs, counts, strict=True))
    whole = f"5-fold cross-validation by patient of all of {task.dataset}."
    return Fitted(
        recordings=len(train),
        patients=len(np.unique(train.patient)),
        positives=positives,
        leads=(task.lead,),
        split=whole if division.test is None else f"The training split of {task.dataset}.",
    )
