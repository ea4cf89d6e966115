"""Reads EDF, EDF+ and BDF files. Samples stay on disk."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _edf_file, _recording
from clef_jax.formats._edf_file import File, Run, Signal
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import unit as unit_lib

_NUMBERED = re.compile(
    r"(?:(?:ch|chan|channel|kanal|canal|sig|signal|input)?[\s._#-]*\d{1,2})?", re.IGNORECASE
)
"""Labels that do not say what a signal is, as Holter recorders write: `CH1`, `Channel 2` or `3`."""


def open_edf(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each sampling rate of the file's ECG signals, with NaN in gaps.

    The hints count where a label or a unit says nothing.

    Raises:
        Defect: the file is malformed or holds no complete data record, or no signal is an ECG.
    """
    file = _edf_file.parse(path)
    chosen, notes = _choose(file, hints)
    notes += _length_notes(file)
    patient = _edf_file.find_start(file)
    for count in sorted({signal.per_record for signal in chosen}, reverse=True):
        signals = [signal for signal in chosen if signal.per_record == count]
        rate = count / file.record_seconds
        own = tuple(signal.label for signal in signals)
        if hints.lead_names is not None and all(map(_NUMBERED.fullmatch, own)):
            own = None
        names, name_notes = _recording.lead_names(own, hints, len(signals))
        scales = [_recording.scale(signal.unit, hints) for signal in signals]
        known = all(is_known for _, is_known in scales)
        runs = _edf_file.find_runs(file, count)
        num_samples = runs[-1].start + runs[-1].num_records * count
        missing = 1 - file.num_records * count / num_samples
        detail = (
            f"The recording has {counted(len(runs) - 1, 'gap')}, {missing:.0%} of its duration."
        )
        gaps = (Note("discontinuous", detail),) if len(runs) > 1 else ()
        factors = [factor for factor, _ in scales]
        yield Opened(
            part=f"{rate:g}Hz" if len({s.per_record for s in chosen}) > 1 else "",
            lead_names=names,
            sample_rate_hz=_recording.check_rate(rate, path.name),
            num_samples=num_samples,
            unit_known=known,
            read=functools.partial(_read_window, file, signals, factors, runs, num_samples),
            notes=(*notes, *gaps, *name_notes, *_recording.unit_notes(known)),
            patient=patient,
        )


def _length_notes(file: File) -> list[Note]:
    """Returns a note if the file holds fewer or more data records than it states."""
    stored, stated = file.num_records, file.num_stated
    if stored == stated or stated == -1:
        return []
    problem = "truncated" if stored < stated else "wrong_length"
    detail = f"{file.path.name} holds {stored} of {counted(stated, 'data record')}."
    return [Note(problem, detail)]


def _choose(file: File, hints: Hints) -> tuple[list[Signal], list[Note]]:
    """Returns the ECG signals, and notes on those that are excluded or are no ECG by their label.

    Raises:
        Defect: no signal is an ECG in a unit of voltage.
    """
    stored = [signal for signal in file.signals if signal.per_record]
    named = [signal for signal in stored if leads.is_ecg(signal.label)]
    chosen, notes = [], []
    for signal in named:
        if (signal.unit and unit_lib.millivolts(signal.unit) is None) or signal.gain is None:
            detail = (
                f"The signal {signal.label}, in {signal.unit!r}, has no valid scale in volts and "
                "was excluded."
            )
            notes.append(Note("wrong_units", detail, signal.label))
            continue
        chosen.append(signal)
    if notes and not chosen:
        raise Defect(notes[0].problem, notes[0].detail)
    if not chosen:
        chosen = [signal for signal in stored if _may_be_ecg(signal, hints)]
        labels = ", ".join(signal.label for signal in chosen)
        detail = f"The labels {labels!r} do not name leads; all were taken for ECG leads."
        notes += [Note("unnamed_lead", detail)] if hints.lead_names is None else []
    if not chosen or (not named and len(chosen) > _recording.MAX_UNNAMED_LEADS):
        labels = ", ".join(signal.label for signal in stored) or "none"
        detail = (
            f"No signal of {file.path.name} is an ECG lead in volts by its label; it has {labels}."
        )
        raise Defect("no_ecg_lead", detail)
    return chosen, notes


def _may_be_ecg(signal: Signal, hints: Hints) -> bool:
    """Returns whether neither label nor unit says that a signal is no ECG."""
    if signal.gain is None or signal.is_annotation or not _NUMBERED.fullmatch(signal.label):
        return False
    told = (hints.units, hints.gain_per_mv, hints.lead_names) != (None, None, None)
    return unit_lib.millivolts(signal.unit) is not None or (not signal.unit and told)


def _read_window(
    file: File,
    signals: list[Signal],
    factors: list[float],
    runs: list[Run],
    length: int,
    start: int,
    num_samples: int,
) -> np.ndarray:
    _recording.check_window(start, num_samples, length)
    out = np.empty((len(signals), num_samples), np.float32)
    for row, signal, factor in zip(out, signals, factors, strict=True):
        values = _edf_file.read(file, signal, runs, start, num_samples)
        row[:] = _recording.as_float32(values * factor)
    return out


FORMAT = Format(name="EDF", suffixes=(".edf", ".bdf"), open=open_edf)
