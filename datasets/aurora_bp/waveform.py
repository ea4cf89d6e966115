"""Reads waveform files of Aurora-BP: text columns of time in seconds and ECG in millivolts."""

import csv
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from clef_jax import files
from clef_jax.building import value
from clef_jax.building.listing import Entry
from clef_jax.data.record import Recording
from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC

LEAD = "I"
RATE_HZ = 500.0
EXTENSION = ".tsv"
RATE_TOLERANCE = 0.01
MIN_GAP_STEPS = 1.6
"""Smallest time step, in median steps, that is a gap; rounding to milliseconds gives less."""
MAX_MISSING_FRACTION = 0.5
"""Largest fraction of missing rows in a usable file."""
MAX_GAIN_PER_MV = 8192
_MAX_RANGE_ADC = 65_000
"""Largest range of stored samples; int16 has 65,535, and the rest is a margin to its limits."""
_MAX_BASELINE = 1 << 30


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one file, as integers with a gain and baseline of its own."""
    stem = files.locate(source, entry.path, (EXTENSION,))
    time_s, ecg_mv = _columns(stem.with_name(stem.name + EXTENSION))
    ecg_mv = _insert_missing_rows(time_s, ecg_mv)
    gain_per_mv, baseline = _scale(ecg_mv)
    with np.errstate(invalid="ignore"):
        adc = np.rint(ecg_mv * gain_per_mv) + baseline
    return Recording(
        signal=np.where(np.isnan(ecg_mv), MISSING_ADC, adc).astype(np.int16)[None],
        lead_names=(LEAD,),
        gain_per_mv=np.array([gain_per_mv], np.float32),
        baseline=np.array([baseline], np.int32),
        sample_rate_hz=RATE_HZ,
    )


def _columns(file: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns time and ECG, float64 [T] each, of rows with a time; NaN where the ECG is missing.

    Raises:
        Defect: the file is missing, unreadable or empty, or lacks one of the columns.
    """
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = csv.reader((line.replace("\0", "") for line in stream), delimiter="\t")
            header = [name.strip().lower() for name in next(rows, [])]
            columns = [_position(header, name, file) for name in ("t", "ekg")]
            values = np.array(list(_numbers(rows, *columns))).reshape(-1, 2)
    except FileNotFoundError:
        raise Defect("missing_file", f"The file {file.name} does not exist.") from None
    except (OSError, csv.Error) as error:
        detail = f"The file {file.name} cannot be read ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    values = values[~np.isnan(values[:, 0])]
    if len(values) < 2:
        raise Defect("empty_file", f"The file {file.name} has no rows.")
    return values[:, 0], values[:, 1]


def _position(header: list[str], name: str, file: pathlib.Path) -> int:
    if not any(header):
        raise Defect("empty_file", f"The file {file.name} is empty.")
    if name not in header:
        raise Defect("missing_column", f"The file {file.name} has no column {name}.")
    return header.index(name)


def _numbers(rows: Iterator[list[str]], time: int, ecg: int) -> Iterator[tuple[float, float]]:
    """Yields time and ECG of each row, NaN for what is not a finite number."""
    for row in rows:
        try:
            pair = float(row[time]), float(row[ecg])
        except (ValueError, IndexError):
            cells = [row[column] if column < len(row) else None for column in (time, ecg)]
            pair = value.number(cells[0]), value.number(cells[1])
        yield pair if math.isfinite(pair[0] + pair[1]) else (_finite(pair[0]), _finite(pair[1]))


def _finite(number: float) -> float:
    return number if math.isfinite(number) else math.nan


def _insert_missing_rows(time_s: np.ndarray, ecg_mv: np.ndarray) -> np.ndarray:
    """Returns the ECG, float64 [T], at equal steps, NaN where rows are missing.

    Raises:
        Defect: times decrease, have another rate, or are mostly missing.
    """
    steps_s = np.diff(time_s)
    if (steps_s < 0).any():
        raise Defect("time_goes_back", "Times in column t decrease.")
    if (steps_s == 0).any():
        # With few digits, neighbouring times are equal, and only the mean rate is known.
        _check_rate(float(steps_s.mean()))
        return ecg_mv
    median_s = float(np.median(steps_s))
    _check_rate(median_s)
    is_gap = steps_s > MIN_GAP_STEPS * median_s
    # The mean is more precise than the median if times are rounded.
    step_s = float(steps_s[~is_gap].mean())
    missing = np.where(is_gap, np.rint(steps_s / step_s) - 1, 0)
    if len(time_s) / (len(time_s) + missing.sum()) < 1 - MAX_MISSING_FRACTION:
        detail = f"By column t, more than {100 * MAX_MISSING_FRACTION:g} % of the rows are missing."
        raise Defect("missing_rows", detail)
    index = np.arange(len(time_s)) + np.concatenate([[0], np.cumsum(missing)]).astype(np.int64)
    filled = np.full(index[-1] + 1, np.nan)
    filled[index] = ecg_mv
    return filled


def _check_rate(step_s: float) -> None:
    if abs(step_s * RATE_HZ - 1) > RATE_TOLERANCE:
        rate = f"{1 / step_s:g} Hz" if step_s > 0 else "undefined"
        raise Defect("wrong_rate", f"The sampling rate is {rate} instead of {RATE_HZ:g} Hz.")


def _scale(ecg_mv: np.ndarray) -> tuple[float, int]:
    """Returns the gain, the highest power of two for which all samples fit, and the baseline.

    Raises:
        Defect: no sample is known, or their range is implausible for an ECG in millivolts.
    """
    known = ecg_mv[~np.isnan(ecg_mv)]
    if not len(known):
        raise Defect("no_usable_lead", "Column ekg has no value.", LEAD)
    low_mv, high_mv = float(known.min()), float(known.max())
    center_mv = low_mv / 2 + high_mv / 2
    gain_per_mv = MAX_GAIN_PER_MV
    while gain_per_mv >= 1 and (
        (high_mv - low_mv) * gain_per_mv > _MAX_RANGE_ADC
        or abs(center_mv) * gain_per_mv > _MAX_BASELINE
    ):
        gain_per_mv //= 2
    if gain_per_mv < 1:
        detail = f"Column ekg spans {high_mv - low_mv:.3g} mV, which is implausible for an ECG."
        raise Defect("implausible_amplitude", detail, LEAD)
    return float(gain_per_mv), -round(center_mv * gain_per_mv)
