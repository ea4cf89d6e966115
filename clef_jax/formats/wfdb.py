"""WFDB records (`.hea` with `.dat` or MATLAB 4 `.mat`), of one segment or of several.

Format: physionet.org/physiotools/wag, header(5) and signal(5).
"""

import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import adc, unit as unit_lib
from clef_jax.wfdb import fallback, header as wfdb_header, record as wfdb_record, segment
from clef_jax.wfdb.header import Header, Signal

_SUMMED_BYTES = 16 << 20
"""Checksums of larger signal files are not compared, because that needs all of their samples."""
_SEGMENT_NAME = re.compile(r".+_(?:\d{4,}|layout)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Lead:
    """A signal of the record that is used."""

    row: int
    signal: Signal
    gain_per_mv: float
    """ADC units per millivolt; 1 where `calibrated` is false."""
    calibrated: bool


def open_record(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the record of a header, with its leads in any unit of voltage and no other signals.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, or no signal is an ECG.
    """
    record, segments = path.with_suffix(""), segment.read_names(path)
    header = segment.read_header(record, segments) if segments else wfdb_header.read(record)
    rate = _recording.check_rate(header.sample_rate_hz, path.name)
    num_samples = header.num_samples or 0
    if not segments:
        num_samples = wfdb_record.count_samples(record, header)
    used, notes = _choose(header.signals, hints)
    if not segments and wfdb_record.is_read_by_window(header):
        read = functools.partial(_read_stored, record, header, used)
        notes += _checksum_notes(record, header, num_samples)
    else:
        read = functools.partial(_read_physical, record, used, num_samples)
    own = tuple(lead.signal.lead for lead in used)
    names, more = _recording.names_of(own, hints, len(used))
    known = all(lead.calibrated for lead in used)
    yield Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=num_samples,
        unit_known=known,
        read=read,
        notes=(*notes, *more, *_recording.unit_notes(known)),
    )


def _choose(signals: tuple[Signal, ...], hints: Hints) -> tuple[list[_Lead], list[Note]]:
    """Returns the signals that are ECG leads, and notes on those that are not used as they are.

    Raises:
        Defect: no signal is an ECG lead.
    """
    used: list[_Lead] = []
    notes: list[Note] = []
    for row, signal in enumerate(signals):
        factor = unit_lib.millivolts(signal.units)
        if factor is None or leads.is_other_signal(signal.lead):
            detail = f"The signal {signal.lead}, in {signal.units}, is no ECG and was left out."
            notes.append(Note("other_signal", detail, signal.lead))
            continue
        calibrated = signal.gain > 0
        gain = signal.gain / factor if calibrated else hints.gain_per_mv
        used.append(
            _Lead(row=row, signal=signal, gain_per_mv=gain or 1, calibrated=gain is not None)
        )
        if calibrated and factor != 1:
            detail = f"Lead {signal.lead} was converted from {signal.units} to mV."
            notes.append(Note("units_converted", detail, signal.lead))
    if not used:
        names = ", ".join(signal.lead or "(no name)" for signal in signals)
        raise Defect("no_ecg_lead", f"None of its signals is an ECG lead in volts: {names}.")
    if any(lead.calibrated for lead in used):
        for lead in used:
            if not lead.calibrated:
                name = lead.signal.lead
                detail = f"Lead {name} has no gain, unlike others, and was left out."
                notes.append(Note("wrong_units", detail, name))
        used = [lead for lead in used if lead.calibrated]
    return used, notes


def _checksum_notes(record: Path, header: Header, num_samples: int) -> list[Note]:
    if 2 * num_samples * len(header.signals) > _SUMMED_BYTES:
        return []
    _, bad_checksums = wfdb_record.read_adc(record, header)
    words = "The samples of lead {} contradict the checksum in the header."
    return [Note("checksum_mismatch", words.format(name), name) for name in bad_checksums]


def _read_stored(
    record: Path, header: Header, used: list[_Lead], start: int, num_samples: int
) -> np.ndarray:
    """Returns a window in millivolts of a record of which windows are read alone."""
    samples, _ = wfdb_record.read_adc(record, header, start, num_samples)
    gain_per_mv = np.array([lead.gain_per_mv for lead in used])
    baseline = np.array([lead.signal.baseline for lead in used])
    rows = [lead.row for lead in used]
    return _recording.as_float32(adc.to_mv(samples[rows], gain_per_mv, baseline, np.float64))


def _read_physical(
    record: Path, used: list[_Lead], length: int, start: int, num_samples: int
) -> np.ndarray:
    """Returns a window in millivolts, in any storage format and of any number of segments."""
    _recording.check_window(start, num_samples, length)
    physical = fallback.read_physical(record, [lead.row for lead in used], start, num_samples)
    factors = [
        (lead.signal.gain if lead.signal.gain > 0 else fallback.DEFAULT_GAIN) / lead.gain_per_mv
        for lead in used
    ]
    return _recording.as_float32(physical * np.array(factors)[:, None])


def parts(folder: Path, names: tuple[str, ...]) -> set[str]:
    """Returns the signal files of a folder's headers, and the headers of segments of records."""
    stems = {name[:-4] for name in names if name.endswith(".hea")}
    owned = {name for name in names if name[-4:] in (".dat", ".mat") and name[:-4] in stems}
    segments = {stem for stem in stems if _SEGMENT_NAME.fullmatch(stem)}
    if segments:
        for stem in stems - segments:
            try:
                listed = segments.intersection(segment.read_names(folder / f"{stem}.hea"))
            except Defect:  # is reported when the record is opened
                continue
            owned |= {f"{name}.hea" for name in listed}
    return owned


FORMAT = Format(name="WFDB", suffixes=(".hea",), open=open_record, parts=parts)
