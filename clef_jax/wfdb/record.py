"""Reads WFDB records as they are stored: sample values, gains and lead names, no float in between.

Formats 16 and 212 in one file, which nearly all ECG archives use, are read here, in a tenth of the
time that wfdb takes, and a window without the rest of its record; every other record goes through
`wfdb.fallback`. Format: physionet.org/physiotools/wag, signal(5).
"""

import pathlib
import struct

import numpy as np

from clef_jax.data.record import Recording
from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import fallback, header as wfdb_header
from clef_jax.wfdb.header import Header

_OWN_FORMATS = ("16", "212")
_MATLAB_4_INT16 = 30
"""Type field of a little-endian int16 matrix in a MATLAB 4 file."""


def read(
    path: pathlib.Path,
    start_sample: int = 0,
    num_samples: int | None = None,
    *,
    header: Header | None = None,
) -> Recording:
    """Reads a record of calibrated leads, or a window of it.

    Args:
        path: of the record, without extension.
        start_sample: first sample of the window.
        num_samples: length of the window; by default it ends with the record.
        header: of this record, if it has been read already.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, a lead is not in mV, or
            the window leaves the record.
    """
    header = header or wfdb_header.read(path)
    for signal in header.signals:
        if signal.units.lower() != "mv" or not signal.gain > 0:
            detail = f"Lead {signal.lead} is in {signal.gain:g}/{signal.units}: no calibrated mV."
            raise Defect("wrong_units", detail, signal.lead)
    samples, bad_checksums = read_adc(path, header, start_sample, num_samples)
    return Recording(
        signal=samples,
        lead_names=tuple(s.lead for s in header.signals),
        gain_per_mv=np.array([s.gain for s in header.signals], np.float32),
        baseline=np.array([s.baseline for s in header.signals], np.int32),
        sample_rate_hz=header.sample_rate_hz,
        bad_checksums=bad_checksums,
    )


def read_adc(
    path: pathlib.Path, header: Header, start_sample: int = 0, num_samples: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads the stored samples of signals in any unit.

    Args:
        path: of the record, without extension.
        header: of the record.
        start_sample: first sample of the window.
        num_samples: length of the window; by default it ends with the record.

    Returns:
        int16 [L, T], `MISSING_ADC` where nothing was recorded; and the leads whose samples
        contradict the header's checksums, which only whole records of format 16 can tell.

    Raises:
        Defect: the signal file is missing, malformed or truncated, or the window leaves the record.
    """
    if not is_read_by_window(header):
        return fallback.read_adc(path, start_sample, num_samples), ()
    samples, is_complete = _read_interleaved(path, header, start_sample, num_samples)
    # The checksums of other formats count missing samples by another value than ours.
    summable = is_complete and header.common_format == "16"
    return samples, _bad_checksums(header, samples) if summable else ()


def is_read_by_window(header: Header) -> bool:
    """Returns whether a window of the record is read without wfdb and without the other samples."""
    return header.common_format in _OWN_FORMATS


def _bad_checksums(header: Header, samples: np.ndarray) -> tuple[str, ...]:
    """Returns the leads whose samples do not add up to the header's checksum."""
    sums = samples.sum(axis=1, dtype=np.int64) & 0xFFFF
    return tuple(
        signal.lead
        for signal, total in zip(header.signals, sums, strict=True)
        if signal.checksum is not None and signal.checksum & 0xFFFF != total
    )


def count_samples(path: pathlib.Path, header: Header) -> int:
    """Returns the number of samples of a record, by its header or else by its signal file's size.

    Raises:
        Defect: the signal file is missing, or shorter than the header says.
    """
    first, count = header.signals[0], len(header.signals)
    file = path.with_name(first.file)
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise Defect("missing_file", f"The signal file {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    if not is_read_by_window(header):
        if header.num_samples is None:
            raise Defect("unreadable", "The header does not say how long the record is.")
        return header.num_samples
    # Format 212 packs two samples into three bytes.
    halves = 4 if header.common_format == "16" else 3
    stored = 2 * max(size - first.offset_bytes, 0) // halves // count
    if header.num_samples is not None and stored < header.num_samples:
        needed = -(-header.num_samples * count * halves // 2) + first.offset_bytes
        detail = f"The signal file {file.name} is truncated: {size} bytes instead of {needed}."
        raise Defect("truncated", detail)
    return header.num_samples or stored


def _read_interleaved(
    path: pathlib.Path, header: Header, start: int, num_samples: int | None
) -> tuple[np.ndarray, bool]:
    """Returns samples int16 [L, T] of a record in one file, and whether they are all it has."""
    count, first = len(header.signals), header.signals[0]
    length = count_samples(path, header)
    wanted = length - start if num_samples is None else num_samples
    if start < 0 or wanted < 0 or start + wanted > length:
        detail = f"Samples {start} to {start + wanted} are not inside of its {length} samples."
        raise Defect("window_outside_record", detail)
    file = path.with_name(first.file)
    read = _read_16 if header.common_format == "16" else _read_212
    try:
        _check_matlab(file, header, length)
        flat = read(file, first.offset_bytes, start * count, wanted * count)
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    return np.ascontiguousarray(flat.reshape(wanted, count).T), wanted == length


def _read_16(file: pathlib.Path, offset: int, start: int, count: int) -> np.ndarray:
    return np.fromfile(file, "<i2", count, offset=offset + 2 * start)


def _read_212(file: pathlib.Path, offset: int, start: int, count: int) -> np.ndarray:
    # Pairs of 12-bit samples fill three bytes: low bytes in the first and third, high bits in the
    # second.
    skipped = start % 2
    pairs = -(-(count + skipped) // 2)
    packed = np.fromfile(file, np.uint8, 3 * pairs, offset=offset + 3 * (start // 2))
    packed = np.pad(packed, (0, 3 * pairs - len(packed))).reshape(pairs, 3).astype(np.int16)
    low, middle, high = packed.T
    samples = np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1)
    samples = (samples ^ 0x800) - 0x800  # sign of 12 bits
    samples[samples == fallback.missing_value("212")] = MISSING_ADC
    return samples.reshape(-1)[skipped : skipped + count]


def _check_matlab(file: pathlib.Path, header: Header, length: int) -> None:
    """Checks that the matrix of a .mat file has the shape that the header states.

    Raises:
        Defect: it has another shape, or the file is no MATLAB 4 file with one matrix of int16.
    """
    if file.suffix != ".mat" or header.signals[0].format != "16":
        return
    with file.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20 or struct.unpack("<i", head[:4])[0] != _MATLAB_4_INT16:
        raise Defect("unreadable", f"{file.name} is no MATLAB 4 matrix of 16-bit integers.")
    rows, columns, _, name_length = struct.unpack("<4i", head[4:])
    expected = (len(header.signals), length, header.signals[0].offset_bytes)
    if (rows, columns, 20 + name_length) != expected:
        detail = (
            f"{file.name} holds {rows} x {columns} samples from byte {20 + name_length}, but the "
            f"header says {expected[0]} x {expected[1]} from byte {expected[2]}."
        )
        raise Defect("header_mismatch", detail)
