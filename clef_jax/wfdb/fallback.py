"""Reads through the wfdb package what `wfdb.record` does not read itself: other storage formats,
several signal files, several samples per frame, and records of several segments.
"""

import pathlib
import warnings
from typing import Any

import numpy as np

from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC

DEFAULT_GAIN = 200.0
"""ADC units per physical unit that the format assumes for a signal that states no gain."""
_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, ImportError)
"""Exceptions that wfdb raises for malformed files; the last where a codec is not installed."""
_BITS = {"80": 8, "212": 12, "310": 10, "311": 10, "24": 24, "32": 32}


def read_adc(path: pathlib.Path, start: int = 0, num_samples: int | None = None) -> np.ndarray:
    """Returns the stored samples int16 [L, T] of a window of a record of one segment.

    Args:
        path: of the record, without extension.
        start: first sample of the window.
        num_samples: length of the window; by default it ends with the record.

    Raises:
        Defect: wfdb cannot read the record, or its samples need more than 16 bits.
    """
    end = None if num_samples is None else start + num_samples
    record = _read(path, physical=False, sampfrom=start, sampto=end)
    samples = np.asarray(record.d_signal).T.astype(np.int64)
    for row, form in zip(samples, record.fmt, strict=True):
        row[row == missing_value(form)] = MISSING_ADC
    if samples.min() < MISSING_ADC or samples.max() > -MISSING_ADC - 1:
        raise Defect("unreadable", "Its samples need more than 16 bits.")
    return samples.astype(np.int16)


def read_physical(path: pathlib.Path, rows: list[int], start: int, num_samples: int) -> np.ndarray:
    """Returns a window of some signals, float64 [len(rows), num_samples], NaN where missing.

    Samples are in the unit that the header states, at `DEFAULT_GAIN` where it states no gain.

    Raises:
        Defect: wfdb cannot read the record, or finds fewer samples.
    """
    # wfdb takes an empty window for one that ends with the record.
    if num_samples == 0:
        return np.zeros((len(rows), 0))
    record = _read(path, sampfrom=start, sampto=start + num_samples, channels=rows)
    try:
        physical = np.asarray(record.p_signal, np.float64).T
    except _ERRORS as error:
        raise _unreadable(path, error) from error
    if physical.shape != (len(rows), num_samples):
        raise Defect("unreadable", f"wfdb reads {physical.shape[-1]} of {num_samples} samples.")
    return physical


def read_rate_and_length(path: pathlib.Path) -> tuple[float, int]:
    """Returns the sampling rate in Hz and the number of samples that a header states.

    Raises:
        Defect: wfdb cannot read the header, or it does not state them.
    """
    try:
        header = _package().rdheader(str(path))
        return float(header.fs), int(header.sig_len)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def missing_value(form: str) -> int:
    """Returns the sample that means "not recorded" in a storage format: its smallest value."""
    return -(1 << (_BITS.get(form, 16) - 1))


def _read(path: pathlib.Path, **options: Any) -> Any:
    try:
        return _package().rdrecord(str(path), **options)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: pathlib.Path, error: Exception) -> Defect:
    detail = f"wfdb cannot read the record {path.name} ({type(error).__name__}: {error})."
    return Defect("unreadable", detail)


def _package() -> Any:
    # Importing wfdb takes half a second, and most archives never need it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of wfdb's own code at import
        import wfdb

    return wfdb
