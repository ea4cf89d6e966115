"""Reads WFDB records as stored integers, without conversion to floating point.

All uncompressed formats are read here, the usual ones in a tenth of the time that wfdb takes and
without the samples outside the requested window. `wfdb.fallback` reads all other records. Format:
physionet.org/physiotools/wag, signal(5).
"""

import pathlib
import stat
from collections.abc import Sequence

import numpy as np

from clef_jax.data.record import Recording
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import fallback, header as wfdb_header, matlab_file, storage
from clef_jax.wfdb.header import Header, SignalFile

_BLOCK_FRAMES = 1 << 20
"""Number of frames whose differences are added up at a time."""


def read(
    path: pathlib.Path,
    start_sample: int = 0,
    num_samples: int | None = None,
    *,
    header: Header | None = None,
) -> Recording:
    """Reads a record whose leads are all in mV, or a window of it.

    Args:
        path: path of the record, without extension.
        start_sample: first sample of the window.
        num_samples: length of the window in samples; by default it ends with the record.
        header: header of the record; by default it is read.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, a lead is not in mV, the
            leads have several sampling rates, or the window exceeds the record.
    """
    header = header or wfdb_header.read(path)
    for signal in header.signals:
        if signal.units.lower() != "mv" or not signal.gain:
            stated = f"{signal.gain:g}/{signal.units}"
            detail = f"Lead {signal.lead} is not in mV: the header states {stated}."
            raise Defect("wrong_units", detail, signal.lead)
    samples, bad_checksums = read_adc(path, header, start_sample, num_samples)
    gain = np.array([signal.gain for signal in header.signals], np.float32)
    baseline = np.array([signal.baseline for signal in header.signals], np.int32)
    if gain.min() < 0:
        # A negative gain means that the inputs were swapped. MISSING_ADC stays as it is.
        sign = np.where(gain < 0, -1, 1).astype(np.int16)
        samples, gain, baseline = samples * sign[:, None], np.abs(gain), baseline * sign
    return Recording(
        signal=samples,
        lead_names=tuple(s.lead for s in header.signals),
        gain_per_mv=gain,
        baseline=baseline,
        sample_rate_hz=header.sample_rate_hz,
        bad_checksums=bad_checksums,
    )


def read_adc(
    path: pathlib.Path, header: Header, start_sample: int = 0, num_samples: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads the stored samples of signals in any unit and of one sampling rate.

    Args:
        path: path of the record, without extension.
        header: header of the record.
        start_sample: first sample of the window.
        num_samples: length of the window in samples; by default it ends with the record.

    Returns:
        The samples, int16 [L, T], `MISSING_ADC` where nothing was recorded, and the leads whose
        samples contradict the header's checksums. Checksums are verified only for complete records
        of format 16.

    Raises:
        Defect: the signal file is missing, malformed or truncated, the signals have several
            sampling rates, the window exceeds the record, or samples need more than 16 bits.
    """
    num_frames = count_frames(path, header)
    length = num_frames * header.samples_per_frame
    wanted = length - start_sample if num_samples is None else num_samples
    rows = range(len(header.signals))
    samples = _read_window(path, header, rows, start_sample, wanted, num_frames)
    bad_checksums = find_bad_checksums(header, rows, samples) if wanted == length else ()
    if samples.dtype != np.int16 or any(signal.format != "16" for signal in header.signals):
        samples = _as_adc(header, samples)
    return samples, bad_checksums


def _as_adc(header: Header, samples: np.ndarray) -> np.ndarray:
    """Returns samples of any storage format as int16, with `MISSING_ADC` for missing ones."""
    missing = [storage.missing_value(signal.format) for signal in header.signals]
    samples = np.where(samples == np.array(missing)[:, None], MISSING_ADC, samples)
    if samples.size and (samples.min() < MISSING_ADC or samples.max() > -MISSING_ADC - 1):
        raise Defect("unreadable", "The samples of the record need more than 16 bits.")
    return samples.astype(np.int16)


def has_checksums(header: Header) -> bool:
    """Returns whether a header states checksums that can be verified, of signals of format 16.

    If all checksums are 0, the header has none.
    """
    # The checksums of other formats count missing samples with another value than MISSING_ADC.
    is_known = all(signal.format == "16" for signal in header.signals)
    return is_known and any(signal.checksum for signal in header.signals)


def find_bad_checksums(header: Header, rows: Sequence[int], samples: np.ndarray) -> tuple[str, ...]:
    """Returns the leads of format 16 whose samples do not add up to the header's checksum.

    Args:
        header: header of the record.
        rows: numbers of the signals.
        samples: all stored samples of these signals, integers [len(rows), T].
    """
    if not has_checksums(header):
        return ()
    sums = samples.sum(axis=1, dtype=np.int64) & 0xFFFF
    return tuple(
        signal.lead
        for signal, total in zip((header.signals[row] for row in rows), sums, strict=True)
        if signal.checksum is not None and signal.checksum & 0xFFFF != total
    )


def count_samples(path: pathlib.Path, header: Header) -> int:
    """Returns the number of samples of each signal of a record; see `count_frames`.

    Raises:
        Defect: as `count_frames`, or the signals have several sampling rates.
    """
    return count_frames(path, header) * header.samples_per_frame


def count_frames(path: pathlib.Path, header: Header) -> int:
    """Returns a record's number of frames, from its header or else from the signal files' sizes.

    Args:
        path: path of the record, without extension.
        header: header of the record.

    Raises:
        Defect: a signal file is missing or shorter than the header states, or neither header nor
            files state a length.
    """
    stored = []
    for signals in header.files:
        size = _file_size(wfdb_header.find(path.with_name(signals.name)))
        if not storage.is_known(signals.format):
            continue
        count = storage.count_samples(signals.format, size - signals.offset_bytes) // signals.width
        if header.num_frames is not None and count < header.num_frames:
            needed = storage.count_bytes(signals.format, header.num_frames * signals.width)
            needed += signals.offset_bytes
            detail = (
                f"The signal file {signals.name} is truncated: {counted(size, 'byte')} instead of "
            )
            raise Defect("truncated", f"{detail}{needed:,}.")
        stored.append(count)
    if header.num_frames is not None:
        return header.num_frames
    if not stored:
        raise Defect("unreadable", "The header does not state the record's number of samples.")
    return min(stored)


def _file_size(file: pathlib.Path) -> int:
    try:
        status = file.stat()
    except FileNotFoundError:
        raise Defect("missing_file", f"The signal file {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise Defect("not_a_file", f"The signal file {file.name} is not a file; it was not opened.")
    return status.st_size


def read_samples(
    path: pathlib.Path, header: Header, rows: Sequence[int], start: int, num_samples: int
) -> np.ndarray:
    """Returns a window of some signals as stored, integers [len(rows), num_samples].

    Args:
        path: path of the record, without extension.
        header: header of the record.
        rows: numbers of the signals, which have the same number of samples per frame.
        start: first sample of the window.
        num_samples: length of the window in samples.

    Raises:
        Defect: a signal file is missing, malformed or truncated, or the window exceeds the record.
    """
    return _read_window(path, header, rows, start, num_samples, count_frames(path, header))


def _read_window(
    path: pathlib.Path,
    header: Header,
    rows: Sequence[int],
    start: int,
    num_samples: int,
    num_frames: int,
) -> np.ndarray:
    """Returns what `read_samples` does, of a record with `num_frames` frames."""
    per_frame = header.signals[rows[0]].samples_per_frame
    if start < 0 or num_samples < 0 or start + num_samples > num_frames * per_frame:
        length = num_frames * per_frame
        detail = (
            f"Samples {start} to {start + num_samples} exceed the record's "
            f"{counted(length, 'sample')}."
        )
        raise Defect("window_outside_record", detail)
    if num_samples == 0:
        return np.zeros((len(rows), 0), np.int16)
    first, skipped = divmod(start, per_frame)
    count = -(-(skipped + num_samples) // per_frame)
    if not all(storage.is_known(signals.format) for signals in header.files):
        samples = fallback.read_frames(path, rows, first, count)
        return samples[:, skipped : skipped + num_samples]
    parts, order = [], []
    for signals in header.files:
        wanted = [i for i, row in enumerate(signals.rows) if row in rows]
        if not wanted:
            continue
        file = wfdb_header.find(path.with_name(signals.name))
        shape = (signals.width, num_frames)
        try:
            matlab_file.check(file, signals.format, shape, signals.offset_bytes)
            for skew in sorted({header.signals[signals.rows[i]].skew for i in wanted}):
                shifted = [i for i in wanted if header.signals[signals.rows[i]].skew == skew]
                parts.append(_read_shifted(file, header, signals, shifted, first + skew, count))
                order += [signals.rows[i] for i in shifted]
        except OSError as error:
            raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if order != list(rows):
        samples = samples[[order.index(row) for row in rows]]
    if samples.shape[1] == num_samples:
        return samples
    return samples[:, skipped : skipped + num_samples]


def _read_shifted(
    file: pathlib.Path,
    header: Header,
    signals: SignalFile,
    wanted: list[int],
    first: int,
    count: int,
) -> np.ndarray:
    """Returns what `_read_file` does, with missing samples after the end of the file."""
    if not header.signals[signals.rows[wanted[0]]].skew:
        return _read_file(file, header, signals, wanted, first, count)
    size = file.stat().st_size - signals.offset_bytes
    stored = storage.count_samples(signals.format, size) // signals.width
    present = min(max(stored - first, 0), count)
    samples = _read_file(file, header, signals, wanted, min(first, stored), present)
    absent = (count - present) * signals.widths[wanted[0]]
    if not absent:
        return samples
    missing = storage.missing_value(signals.format)
    if np.isnan(missing):
        detail = f"{file.name} ends before its skewed signals do, in a format without missing ones."
        raise Defect("truncated", detail)
    return np.pad(samples, ((0, 0), (0, absent)), constant_values=int(missing))


def _read_file(
    file: pathlib.Path,
    header: Header,
    signals: SignalFile,
    wanted: list[int],
    first: int,
    count: int,
) -> np.ndarray:
    """Returns `count` frames of the wanted signals of one file, integers [len(wanted), T]."""
    samples = _read_frames(file, signals, wanted, first, count)
    if signals.format != storage.DIFFERENCES:
        return samples
    value = np.array([header.signals[signals.rows[i]].first for i in wanted], np.int64)
    for start in range(0, first, _BLOCK_FRAMES):
        block = _read_frames(file, signals, wanted, start, min(_BLOCK_FRAMES, first - start))
        value += block.sum(axis=1, dtype=np.int64)
    return value[:, None] + np.cumsum(samples, axis=1, dtype=np.int64)


def _read_frames(
    file: pathlib.Path, signals: SignalFile, wanted: list[int], first: int, count: int
) -> np.ndarray:
    width = signals.width
    flat = storage.read(file, signals.format, signals.offset_bytes, first * width, count * width)
    frames = flat.reshape(count, width)
    if len(wanted) < len(signals.rows):
        ends = np.cumsum(signals.widths)
        columns = [np.arange(ends[i] - signals.widths[i], ends[i]) for i in wanted]
        frames = frames[:, np.concatenate(columns)]
    if frames.shape[1] == len(wanted):
        return np.ascontiguousarray(frames.T)
    # All wanted signals have the same number of samples per frame.
    by_signal = frames.reshape(count, len(wanted), -1).transpose(1, 0, 2)
    return by_signal.reshape(len(wanted), -1)
