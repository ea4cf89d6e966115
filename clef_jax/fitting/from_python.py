"""`.fit` of a loaded model: labels and recordings in memory, or files of recordings."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from clef_jax.answers.threshold import SENSITIVITY, SPECIFICITY, Rule
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.errors import UserError, counted
from clef_jax.fitting import labelled_model, labels as labels_lib
from clef_jax.fitting.fitted_head import Options
from clef_jax.fitting.labelled_model import LabelledModel, Request
from clef_jax.fitting.labels import Choice
from clef_jax.fitting.source import Arrays, Files, Source
from clef_jax.formats import Hints


def fit(
    embedder: Embedder | ForeignEncoder,
    recordings: Sequence[Any],
    labels: Sequence[Any] | Mapping[str, Sequence[Any]],
    *,
    patients: Sequence[Any] | None = None,
    sample_rate_hz: float | Sequence[float] | None = None,
    lead_names: Sequence[str] | None = None,
    positive: Mapping[str, Sequence[str]] | None = None,
    sensitivity: float | None = None,
    specificity: float | None = None,
    coverage: float = 0.9,
    seed: int = 0,
    **wanted: Any,
) -> LabelledModel:
    """Returns the model with a head that is fitted to labels and cross-validated by patient.

    Args:
        embedder: encoder whose features the head reads.
        recordings: signals [T] or [L, T] in mV, or files of one recording each.
        labels: one label for each recording, or such sequences by name: yes or no, numbers, or
            names of classes; None or NaN where unknown.
        patients: patient of each recording; by default each recording has another one.
        sample_rate_hz: sampling rate of all signals, or of each, in Hz; for files, that of those
            which do not state theirs.
        lead_names: names of the L leads; by default unknown.
        positive: classes of a named label that count as yes, while all others count as no.
        sensitivity: least sensitivity of the threshold; by default it has the best balanced
            accuracy.
        specificity: least specificity of the threshold.
        coverage: fraction of patients whose true number the interval of a number holds.
        seed: seed of folds, resamples and the randomly initialised encoder.
        wanted: other fields of `labelled_model.Request`: `layer`, `lead`, `with_classical`,
            `compare`, `method` (`linear`, `attention` or `finetune`), `tuning`.

    Raises:
        UserError: recordings and labels do not fit each other, or do not allow a fit.
    """
    count = len(recordings)
    choice = Choice(positive={name: tuple(values) for name, values in (positive or {}).items()})
    interpreted = labels_lib.from_python(labels, count, patients, choice)
    source = _source(recordings, sample_rate_hz, lead_names)
    rule = Rule()
    if sensitivity is not None:
        rule = Rule(SENSITIVITY, sensitivity)
    elif specificity is not None:
        rule = Rule(SPECIFICITY, specificity)
    options = Options(rule=rule, coverage=coverage, seed=seed)
    known = {field.name for field in dataclasses.fields(Request)} - {"options"}
    if unknown := set(wanted) - known:
        raise TypeError(f"fit has no argument {', '.join(sorted(unknown))}")
    request = Request(options=options, **wanted)
    return labelled_model.fit(embedder, source, interpreted, request)


def _source(
    recordings: Sequence[Any],
    sample_rate_hz: float | Sequence[float] | None,
    lead_names: Sequence[str] | None,
) -> Source:
    """Returns the files or arrays that a user gives."""
    names = None if lead_names is None else tuple(lead_names)
    is_file = [isinstance(recording, str | pathlib.Path) for recording in recordings]
    if any(is_file) and not all(is_file):
        raise UserError(
            "The recordings mix files and arrays; give only files, or only arrays.",
            problem="mixed_recordings",
        )
    if is_file and all(is_file):
        if isinstance(sample_rate_hz, Sequence):
            raise UserError("Files take one sample_rate_hz for those that do not state theirs.")
        hints = Hints(sample_rate_hz=sample_rate_hz, lead_names=names)
        return Files(paths=tuple(map(pathlib.Path, recordings)), hints=hints)
    rates = _rates(sample_rate_hz, len(recordings))
    return Arrays(signals=recordings, sample_rate_hz=rates, lead_names=names)


def _rates(sample_rate_hz: float | Sequence[float] | None, count: int) -> Sequence[float]:
    """Returns the sampling rate of each array."""
    if sample_rate_hz is None:
        raise UserError("Arrays do not state their sampling rate; give sample_rate_hz in Hz.")
    if isinstance(sample_rate_hz, Sequence):
        if len(sample_rate_hz) != count:
            raise UserError(
                f"sample_rate_hz has {counted(len(sample_rate_hz), 'value')} for "
                f"{counted(count, 'recording')}.",
                problem="wrong_rate_count",
            )
        return sample_rate_hz
    return [float(sample_rate_hz)] * count
