"""Reads WFDB records as they are stored: sample values, gains and lead names, no float in between.

Format 16 in one file, which most ECG archives use, has a fast path of its own (a tenth of the time
that wfdb takes); every other record goes through wfdb. Format: physionet.org/physiotools/wag.
"""

import dataclasses
import os
import pathlib
import re

import numpy as np

from clef_jax.data.quality import Defect
from clef_jax.data.record import MISSING_ADC, Recording

_MAX_HEADER_BYTES = 1 << 16
_RECORD_LINE = re.compile(
    r"(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<signals>\d+)"
    r"(?:\s+(?P<rate>\d[\d.eE+-]*)(?:/[^\s(]+(?:\(\S+\))?)?(?:\s+(?P<samples>\d+)(?:\s.*)?)?)?"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[-+.\deE]+)(?:\((?P<baseline>[-+]?\d+)\))?(?:/(?P<units>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d+)(?:\s+-?\d+(?:\s+(?P<checksum>-?\d+)(?:\s+\d+"
    r"(?:\s+(?P<lead>\S.*?))?)?)?)?)?)?)?\s*"
)
# What wfdb's own reader throws at malformed files.
_WFDB_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """One signal line of a header."""

    file: str
    format: str
    samples_per_frame: int
    skew: int
    offset_bytes: int
    gain: float
    baseline: int
    units: str
    checksum: int | None
    lead: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the header says of a record of one segment."""

    sample_rate_hz: float
    num_samples: int | None
    """None if it leaves the length to the signal file."""
    signals: tuple[Signal, ...]

    @property
    def is_plain(self) -> bool:
        """All signals interleaved in one file of 16-bit samples."""
        return len({s.file for s in self.signals}) == 1 and all(
            s.format == "16" and s.samples_per_frame == 1 and s.skew == 0 for s in self.signals
        )


def locate(source: str | os.PathLike[str], record_id: str) -> pathlib.Path:
    """The path of a record without extension.

    Raises:
        Defect: it leads out of the source folder, by `..`, as an absolute path or through a link.
    """
    path = pathlib.Path(source, record_id)
    root = os.path.realpath(source)
    for extension in (".hea", ".dat"):
        real = os.path.realpath(f"{path}{extension}") if "\0" not in record_id else ""
        if pathlib.Path(record_id).is_absolute() or not real.startswith(root + os.sep):
            detail = f"The path {record_id!r} leads out of the source folder; it was not opened."
            raise Defect("path_outside_source", detail)
    return path


def read(path: pathlib.Path) -> Recording:
    """Reads the record at a path without extension.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, or a lead is not in mV.
    """
    header = read_header(path)
    for signal in header.signals:
        if signal.units.lower() != "mv" or not signal.gain > 0:
            detail = f"Lead {signal.lead} is in {signal.gain:g}/{signal.units}: no calibrated mV."
            raise Defect("wrong_units", detail, signal.lead)
        if os.path.basename(signal.file) != signal.file:
            detail = f"The header names the signal file {signal.file!r} in another folder."
            raise Defect("path_outside_source", detail)
    samples = _read_plain(path, header) if header.is_plain else _read_by_wfdb(path)
    sums = samples.sum(axis=1, dtype=np.int64) & 0xFFFF
    return Recording(
        signal=samples,
        lead_names=tuple(s.lead for s in header.signals),
        gain_per_mv=np.array([s.gain for s in header.signals], np.float32),
        baseline=np.array([s.baseline for s in header.signals], np.int32),
        sample_rate_hz=header.sample_rate_hz,
        bad_checksums=tuple(
            s.lead
            for s, total in zip(header.signals, sums, strict=True)
            if header.is_plain and s.checksum is not None and s.checksum & 0xFFFF != total
        ),
    )


def read_header(path: pathlib.Path) -> Header:
    """Reads `path`.hea.

    Raises:
        Defect: there is none, or it breaks the format.
    """
    file = path.with_name(path.name + ".hea")
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_HEADER_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise Defect("missing_file", f"The header {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if record is None or not (0 < int(record["signals"]) <= len(lines) - 1) or record["segments"]:
        detail = f"The first line of the header {file.name} describes no record of one segment."
        raise Defect("unreadable", detail)
    rate = float(record["rate"] or 250)  # 250 Hz is the format's default
    return Header(
        sample_rate_hz=rate,
        num_samples=int(record["samples"] or 0) or None,
        signals=tuple(_signal(line, file.name) for line in lines[1 : int(record["signals"]) + 1]),
    )


def _signal(line: str, file_name: str) -> Signal:
    found = _SIGNAL_LINE.fullmatch(line)
    if found is None:
        raise Defect("unreadable", f"The header {file_name} has a signal line without form.")
    try:
        gain = float(found["gain"] or 0)
    except ValueError:
        raise Defect(
            "unreadable", f"The header {file_name} has a gain that is no number."
        ) from None
    checksum = found["checksum"]
    return Signal(
        file=found["file"],
        format=found["format"],
        samples_per_frame=int(found["frame"] or 1),
        skew=int(found["skew"] or 0),
        offset_bytes=int(found["offset"] or 0),
        gain=gain,
        baseline=int(found["baseline"] or found["zero"] or 0),
        units=found["units"] or "mV",
        checksum=None if checksum is None else int(checksum),
        lead=found["lead"] or "",
    )


def _read_plain(path: pathlib.Path, header: Header) -> np.ndarray:
    """int16 [L, T] of a record whose samples are interleaved in one 16-bit file."""
    count, offset = len(header.signals), header.signals[0].offset_bytes
    file = path.with_name(header.signals[0].file)
    try:
        size = file.stat().st_size - offset
        num_samples = header.num_samples or max(size, 0) // (2 * count)
        if size < 2 * count * num_samples:
            detail = (
                f"The signal file {file.name} is truncated: {size + offset} bytes instead of "
                f"{2 * count * num_samples + offset}."
            )
            raise Defect("truncated", detail)
        samples = np.fromfile(file, "<i2", count * num_samples, offset=offset)
    except FileNotFoundError:
        raise Defect("missing_file", f"The signal file {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    return np.ascontiguousarray(samples.reshape(num_samples, count).T)


def _read_by_wfdb(path: pathlib.Path) -> np.ndarray:
    """int16 [L, T] of any other record."""
    import wfdb  # half a second to import, and most archives never need it

    try:
        record = wfdb.rdrecord(str(path), physical=False)
    except _WFDB_ERRORS as error:
        detail = f"wfdb cannot read it ({type(error).__name__}: {error})."
        raise Defect("unreadable", detail) from error
    assert isinstance(record, wfdb.Record)  # the header has one segment
    assert record.fmt is not None
    samples = np.asarray(record.d_signal).T.astype(np.int64)
    for row, form in zip(samples, record.fmt, strict=True):
        row[row == _missing_value(form)] = MISSING_ADC
    if samples.min() < MISSING_ADC or samples.max() > -MISSING_ADC - 1:
        raise Defect("unreadable", "Its samples need more than 16 bits.")
    return samples.astype(np.int16)


def _missing_value(form: str) -> int:
    """The sample that means "not recorded" in a storage format: its smallest value."""
    bits = {"80": 8, "212": 12, "310": 10, "311": 10, "24": 24, "32": 32}.get(form, 16)
    return -(1 << (bits - 1))
