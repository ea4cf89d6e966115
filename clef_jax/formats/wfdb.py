"""WFDB records (`.hea` with `.dat` or MATLAB 4 `.mat`), of one segment or of several.

Format: physionet.org/physiotools/wag, header(5) and signal(5).
"""

import dataclasses
import functools
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _recording, _unit
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record
from clef_jax.wfdb.header import Header, Signal

_QUICK = ("16", "212")
"""Storage formats whose windows are read without the rest of the file."""
_SUMMED_BYTES = 16 << 20
"""Checksums of larger signal files are not looked at, because that means to read all of it."""
_WFDB_GAIN = 200.0
"""Steps per millivolt that wfdb takes for a signal that has no gain."""
_SEGMENTS = re.compile(r"\s*[^\s/#]+/(\d+)\s")
_SEGMENT_NAME = re.compile(r".+_(?:\d{4,}|layout)")
# What wfdb's own reader throws at malformed files; the last where a codec is not installed.
_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, ImportError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Lead:
    """A signal of the record that is used."""

    row: int
    signal: Signal
    mv_per_step: float
    calibrated: bool


def open_record(path: Path, hints: Hints) -> Iterator[Opened]:
    """The record of a header; leads in any unit of voltage, other signals are left out.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, or no signal is an ECG.
    """
    record = path.with_suffix("")
    segments = segment_names(path)
    if segments:
        yield _open_segments(record, segments, hints)
        return
    header = wfdb_header.read(record)
    rate = _recording.check_rate(header.sample_rate_hz, path.name)
    num_samples = wfdb_record.count_samples(record, header)
    used, notes = _choose(header.signals, hints)
    if header.common_format in _QUICK:
        read = functools.partial(_read_quickly, record, _as_millivolts(header), used)
        notes += _checksum_notes(record, header, num_samples)
    else:
        read = functools.partial(_read_by_wfdb, record, used, num_samples)
    yield _opened(used, notes, rate, num_samples, read, hints)


def _opened(used, notes, rate: float, num_samples: int, read: Any, hints: Hints) -> Opened:
    own = tuple(lead.signal.lead for lead in used)
    names, more = _recording.names_of(own, hints, len(used))
    known = all(lead.calibrated for lead in used)
    return Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=num_samples,
        unit_known=known,
        read=read,
        notes=(*notes, *more, *_recording.unit_notes(known)),
    )


def _choose(signals: tuple[Signal, ...], hints: Hints) -> tuple[list[_Lead], list[Note]]:
    """The signals that are ECG leads, and why others are left out."""
    used: list[_Lead] = []
    notes: list[Note] = []
    for row, signal in enumerate(signals):
        factor = _unit.millivolts(signal.units)
        if factor is None or leads.is_other_signal(signal.lead):
            detail = f"The signal {signal.lead}, in {signal.units}, is no ECG and was left out."
            notes.append(Note("other_signal", detail, signal.lead))
            continue
        calibrated = signal.gain > 0
        gain = signal.gain / factor if calibrated else hints.gain_per_mv
        lead = _Lead(
            row=row, signal=signal, mv_per_step=1 / (gain or 1), calibrated=gain is not None
        )
        used.append(lead)
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


def _as_millivolts(header: Header) -> Header:
    """The same header for a reader that takes nothing else; gains are ours."""
    signals = tuple(dataclasses.replace(s, units="mV", gain=1.0) for s in header.signals)
    return dataclasses.replace(header, signals=signals)


def _checksum_notes(record: Path, header: Header, num_samples: int) -> list[Note]:
    if 2 * num_samples * len(header.signals) > _SUMMED_BYTES:
        return []
    found = wfdb_record.read(record, header=_as_millivolts(header)).bad_checksums
    words = "The samples of lead {} contradict the checksum in the header."
    return [Note("checksum_mismatch", words.format(name), name) for name in found]


def _read_quickly(
    record: Path, header: Header, used: list[_Lead], start: int, num_samples: int
) -> np.ndarray:
    adc = wfdb_record.read(record, start, num_samples, header=header).signal
    out = np.empty((len(used), num_samples), np.float32)
    for row, lead in zip(out, used, strict=True):
        samples = adc[lead.row]
        row[:] = _recording.as_float32((samples - float(lead.signal.baseline)) * lead.mv_per_step)
        row[samples == MISSING_ADC] = np.nan
    return out


def _wfdb() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas complains about wfdb's own code as it is imported
        import wfdb

    return wfdb


def _read_by_wfdb(
    record: Path, used: list[_Lead], length: int, start: int, num_samples: int
) -> np.ndarray:
    """A window in any storage format and of any number of segments."""
    _recording.check_window(start, num_samples, length)
    if num_samples == 0:
        return np.zeros((len(used), 0), np.float32)
    rows = [lead.row for lead in used]
    try:
        read = _wfdb().rdrecord(
            str(record), sampfrom=start, sampto=start + num_samples, channels=rows
        )
        physical = np.asarray(read.p_signal, np.float64).T
        if physical.shape != (len(rows), num_samples):
            raise Defect("unreadable", f"wfdb reads {physical.shape[-1]} of {num_samples} samples.")
    except _ERRORS as error:
        detail = f"wfdb cannot read the signals of {record.name} ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    # wfdb gives the header's own unit.
    own_gain = [lead.signal.gain if lead.signal.gain > 0 else _WFDB_GAIN for lead in used]
    factors = np.array([lead.mv_per_step for lead in used]) * own_gain
    return _recording.as_float32(physical * factors[:, None])


def segment_names(path: Path) -> tuple[str, ...]:
    """Names of the segments that a header puts together; none of an ordinary header.

    Raises:
        Defect: a segment lies in another folder.
    """
    with path.open("rb") as stream:
        text = stream.read(1 << 20).decode("utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = _SEGMENTS.match(lines[0]) if lines else None
    if found is None:
        return ()
    names = tuple(line.split()[0] for line in lines[1 : 1 + int(found[1])])
    for name in names:
        if os.path.basename(name) != name or name in (".", "..") or "\0" in name:
            detail = f"The header {path.name} names the segment {name!r} in another folder."
            raise Defect("path_outside_source", detail)
    return names


def _open_segments(record: Path, segments: tuple[str, ...], hints: Hints) -> Opened:
    """All segments as one; `~` stands for a gap, and a layout segment has no samples."""
    real = [name for name in segments if name != "~"]
    if not real:
        raise Defect("empty", f"The record {record.name} has no segment with samples.")
    first = wfdb_header.read(record.with_name(real[0]))  # describes the signals of all
    try:
        header = _wfdb().rdheader(str(record))
        rate, num_samples = float(header.fs), int(header.sig_len)
    except _ERRORS as error:
        detail = f"wfdb cannot read the header of {record.name} ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    used, notes = _choose(first.signals, hints)
    read = functools.partial(_read_by_wfdb, record, used, num_samples)
    rate = _recording.check_rate(rate, record.name)
    return _opened(used, notes, rate, num_samples, read, hints)


def parts(folder: Path, names: tuple[str, ...]) -> set[str]:
    """Signal files of the headers in a folder, and the segments of longer records."""
    stems = {name[:-4] for name in names if name.endswith(".hea")}
    found = {name for name in names if name[-4:] in (".dat", ".mat") and name[:-4] in stems}
    segments = {stem for stem in stems if _SEGMENT_NAME.fullmatch(stem)}
    if segments:
        for stem in stems - segments:
            try:
                listed = segments.intersection(segment_names(folder / f"{stem}.hea"))
            except (Defect, OSError):  # is told when the record is opened
                continue
            found |= {f"{name}.hea" for name in listed}
    return found


FORMAT = Format(name="WFDB", suffixes=(".hea",), open=open_record, parts=parts)
