"""Parses EDF, EDF+ and BDF files: the header at once, samples by window from the disk.

Format: Kemp et al. 1992 and 2003 (edfplus.info), and BioSemi's variant with 24 bits. Exporters fill
fields with NUL, write decimal commas and micro signs in Latin-1; such fields are understood.
"""

import bisect
import dataclasses
import datetime
import functools
import itertools
import math
import re
from pathlib import Path

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _edf_patient, _recording
from clef_jax.formats._recording import Patient

_MAGIC = {b"0": 2, b"\xffBIOSEMI": 3}
"""Bytes per sample by the first field of the header."""
_HEAD_BYTES = 256
_PATIENT_FIELDS = ((8, 88), (88, 168), (168, 176), (176, 184))
"""Bytes of the fields of patient, recording, start date and start time."""
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Bytes of a signal's fields: label, transducer, unit, physical minimum and maximum, digital
minimum and maximum, filter, samples per data record, reserved."""
_MAX_SIGNALS = 9999
_MAX_SECONDS = 14 * 24 * 3600
"""Largest accepted duration of a recording with gaps, because gaps take no space in the file."""
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15[^\x14]*)?\x14")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """A signal of a file, with the place of its samples in each data record."""

    label: str
    unit: str
    """Physical unit; empty if the file states none."""
    gain: float | None
    """Units per digital step; None if the file states no valid limits."""
    offset: float
    """Value that is added to a digital value before it is multiplied by `gain`."""
    per_record: int
    """Samples per data record."""
    position: int
    """Offset of the samples in a data record, in bytes."""

    @property
    def is_annotation(self) -> bool:
        return self.label.endswith("Annotations")


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """The header of a file."""

    path: Path
    sample_bytes: int
    record_bytes: int
    record_seconds: float
    num_stated: int
    """Number of data records that the header states; -1 while recording."""
    num_records: int
    """Number of complete data records in the file."""
    may_have_gaps: bool
    signals: tuple[Signal, ...]
    patient: Patient

    @functools.cached_property
    def records(self) -> np.ndarray:
        """Returns the data records, uint8 [records, bytes], as a map of the file."""
        offset = _HEAD_BYTES * (len(self.signals) + 1)
        shape = self.num_records, self.record_bytes
        # Windows of a plain array are made faster than those of a `memmap`.
        return np.asarray(np.memmap(self.path, np.uint8, "r", offset, shape))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Data records without a gap between them."""

    start: int
    """Number of the first sample, counted in time from the beginning of the recording."""
    record: int
    """Number of the first data record."""
    num_records: int


def parse(path: Path) -> File:
    """Returns the header of a file.

    Raises:
        Defect: the header is malformed, or the file holds no complete data record.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        sample_bytes = _MAGIC.get(head[:8].rstrip(b" \0"))
        if sample_bytes is None or len(head) < _HEAD_BYTES:
            detail = f"{path.name} does not begin with the header of an EDF or BDF file."
            raise Defect("unreadable", detail)
        num_signals = _integer(head[252:256], path, "number of signals", 1, _MAX_SIGNALS)
        body = stream.read(_HEAD_BYTES * num_signals)
    header_bytes = _HEAD_BYTES * (num_signals + 1)
    if len(body) < header_bytes - _HEAD_BYTES:
        raise Defect("unreadable", f"The header of {path.name} is truncated.")
    _integer(head[184:192], path, "size of the header", header_bytes, header_bytes)
    seconds = _recording.parse_number(text(head[244:252]))
    if seconds is None or not seconds > 0:
        detail = f"{path.name} states an invalid duration of its data records."
        raise Defect("unreadable", detail)
    signals = _signals(body, num_signals, sample_bytes, path)
    record_bytes = sample_bytes * sum(signal.per_record for signal in signals)
    stated = _integer(head[236:244], path, "number of data records", -1, 10**8)
    stored = (size - header_bytes) // record_bytes if record_bytes else 0
    if stored < 1:
        raise Defect("truncated", f"{path.name} holds no complete data record.")
    return File(
        path=path,
        sample_bytes=sample_bytes,
        record_bytes=record_bytes,
        record_seconds=seconds,
        num_stated=stated,
        num_records=stored,
        may_have_gaps=b"+D" in head[192:197],
        signals=signals,
        patient=_edf_patient.parse(*(text(head[start:stop]) for start, stop in _PATIENT_FIELDS)),
    )


def text(field: bytes) -> str:
    """Returns a field's text without its padding."""
    try:
        return field.decode("utf-8").strip(" \0\t")
    except UnicodeDecodeError:
        return field.decode("latin-1").strip(" \0\t")


def _integer(field: bytes, path: Path, what: str, low: int, high: int) -> int:
    value = _recording.parse_number(text(field))
    if value is None or value != int(value) or not low <= value <= high:
        raise Defect("unreadable", f"{path.name} states an invalid {what}.")
    return int(value)


def _signals(body: bytes, count: int, sample_bytes: int, path: Path) -> tuple[Signal, ...]:
    columns, start = [], 0
    for width in _WIDTHS:
        fields = [body[start + width * i : start + width * (i + 1)] for i in range(count)]
        columns.append([text(field) for field in fields])
        start += width * count
    label, _, unit, *limits, _, num_samples, _ = columns
    signals, position = [], 0
    for i in range(count):
        per_record = _integer(num_samples[i].encode(), path, "number of samples", 0, 10**8)
        gain, offset = _calibration([_recording.parse_number(column[i]) for column in limits])
        signals.append(
            Signal(
                label=label[i],
                unit=unit[i],
                gain=gain,
                offset=offset,
                per_record=per_record,
                position=position,
            )
        )
        position += per_record * sample_bytes
    return tuple(signals)


def _calibration(limits: list[float | None]) -> tuple[float | None, float]:
    """Returns gain and offset of a signal; no gain if its limits are missing or equal."""
    low, high, digital_low, digital_high = limits
    if low is None or high is None or digital_low is None or digital_high is None:
        return None, 0.0
    if digital_low >= digital_high:
        return None, 0.0
    gain = (high - low) / (digital_high - digital_low)
    return (gain, high / gain - digital_high) if gain and math.isfinite(gain) else (None, 0.0)


def find_runs(file: File, per_record: int) -> list[Run]:
    """Returns the runs of data records between gaps, for signals of one rate.

    Args:
        file: the file.
        per_record: samples per data record of the signals.

    Raises:
        Defect: data records do not state their times, overlap, or lie too far apart.
    """
    if not file.may_have_gaps:
        return [Run(start=0, record=0, num_records=file.num_records)]
    onsets = _onsets(file)
    if not onsets.max() - onsets[0] <= _MAX_SECONDS:
        detail = f"The data records of {file.path.name} are more than two weeks apart."
        raise Defect("discontinuous", detail)
    starts = np.rint((onsets - onsets[0]) * (per_record / file.record_seconds)).astype(np.int64)
    firsts, places, end = [], [], 0
    for number, start in enumerate(starts.tolist()):
        if start < end - 1:
            detail = f"The data records of {file.path.name} overlap or are not in order."
            raise Defect("discontinuous", detail)
        # Times are rounded, so that one sample is no gap.
        if start > end + 1 or not firsts:
            firsts.append(number)
            places.append(start)
            end = start
        end += per_record
    ends = [*firsts[1:], file.num_records]
    return [
        Run(start=start, record=first, num_records=last - first)
        for start, first, last in zip(places, firsts, ends, strict=True)
    ]


def find_start(file: File) -> Patient:
    """Returns the header's patient, whose start has the fraction of a second that EDF+ states in
    the first data record."""
    start, onset = file.patient.recorded_at, None
    signal = next((signal for signal in file.signals if signal.is_annotation), None)
    if signal is not None:
        stop = signal.position + signal.per_record * file.sample_bytes
        onset = _ONSET.match(file.records[0, signal.position : stop].tobytes())
    if start is None or onset is None or not 0 <= float(onset[1]) < 1:
        return file.patient
    later = start + datetime.timedelta(seconds=float(onset[1]))
    return dataclasses.replace(file.patient, recorded_at=later)


def _onsets(file: File) -> np.ndarray:
    """Returns the stated start of each data record in seconds, float64 [records]."""
    signal = next((signal for signal in file.signals if signal.is_annotation), None)
    if signal is not None:
        stop = signal.position + signal.per_record * file.sample_bytes
        columns = file.records[:, signal.position : stop]
        matches = [_ONSET.match(row.tobytes()) for row in columns]
        if None not in matches:
            return np.array([float(match[1]) for match in matches if match])
    detail = f"{file.path.name} may have gaps (EDF+D), but its data records do not state times."
    raise Defect("discontinuous", detail)


def read(file: File, signal: Signal, runs: list[Run], start: int, num_samples: int) -> np.ndarray:
    """Returns a window of a signal in its unit, float64 [num_samples], with NaN in gaps."""
    out = np.full(num_samples, np.nan)
    columns = slice(signal.position, signal.position + signal.per_record * file.sample_bytes)
    assert signal.gain is not None
    nearest = bisect.bisect_right(runs, start, key=lambda run: run.start) - 1
    for run in itertools.islice(runs, nearest, None):
        first = max(start, run.start)
        stop = min(start + num_samples, run.start + run.num_records * signal.per_record)
        if run.start >= start + num_samples:
            break
        if first >= stop:
            continue
        low, skipped = divmod(first - run.start, signal.per_record)
        high = -(-(stop - run.start) // signal.per_record)
        block = file.records[run.record + low : run.record + high, columns]
        digital = _digital(np.ascontiguousarray(block).reshape(-1), file.sample_bytes)
        part = out[first - start : stop - start]
        np.add(digital[skipped : skipped + stop - first], signal.offset, out=part)
        part *= signal.gain
    return out


def _digital(stored: np.ndarray, sample_bytes: int) -> np.ndarray:
    """Returns the integers that bytes, uint8 [T x bytes], store in little-endian order."""
    if sample_bytes == 2:
        return stored.view("<i2")
    wide = np.zeros((len(stored) // 3, 4), np.uint8)
    wide[:, 1:] = stored.reshape(-1, 3)
    return wide.view("<i4")[:, 0] >> 8
