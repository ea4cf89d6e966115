"""Reads a waveform file of Aurora-BP: time in seconds and the ECG in millivolts, as text."""

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
HOLE_STEPS = 1.6
"""A step of time this many times the usual one has lost rows; rounding to milliseconds stays
below."""
MAX_HOLE_SHARE = 0.5
HIGHEST_GAIN_PER_MV = 8192
_USED_STEPS = 65_000
"""Of the converter's 65,535: the rest is a margin to its rails."""
_HIGHEST_BASELINE = 1 << 30


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """One file, as whole numbers on a scale of its own."""
    stem = files.locate(source, entry.path, (EXTENSION,))
    time_s, ecg_mv = _columns(stem.with_name(stem.name + EXTENSION))
    ecg_mv = _on_grid(time_s, ecg_mv)
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
    """float64 [T] time and ECG of the rows that have a time; NaN where there is no ECG.

    Raises:
        Defect: the file is missing or empty, or lacks one of the columns.
    """
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = csv.reader((line.replace("\0", "") for line in stream), delimiter="\t")
            header = [name.strip().lower() for name in next(rows, [])]
            places = [_place(header, name, file) for name in ("t", "ekg")]
            found = np.array(list(_numbers(rows, *places))).reshape(-1, 2)
    except FileNotFoundError:
        raise Defect("missing_file", f"The file {file.name} does not exist.") from None
    except (OSError, csv.Error) as error:
        detail = f"The file {file.name} cannot be read ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    found = found[~np.isnan(found[:, 0])]
    if len(found) < 2:
        raise Defect("empty_file", f"The file {file.name} has no rows.")
    return found[:, 0], found[:, 1]


def _place(header: list[str], name: str, file: pathlib.Path) -> int:
    if not any(header):
        raise Defect("empty_file", f"The file {file.name} is empty.")
    if name not in header:
        raise Defect("missing_column", f"The file {file.name} has no column {name}.")
    return header.index(name)


def _numbers(rows: Iterator[list[str]], time: int, ecg: int) -> Iterator[tuple[float, float]]:
    """Time and ECG of each row, NaN for what is no finite number."""
    for row in rows:
        try:
            found = float(row[time]), float(row[ecg])
        except (ValueError, IndexError):
            cells = [row[place] if place < len(row) else None for place in (time, ecg)]
            found = value.number(cells[0]), value.number(cells[1])
        yield (
            found if math.isfinite(found[0] + found[1]) else (_finite(found[0]), _finite(found[1]))
        )


def _finite(number: float) -> float:
    return number if math.isfinite(number) else math.nan


def _on_grid(time_s: np.ndarray, ecg_mv: np.ndarray) -> np.ndarray:
    """float64 [T] at equal steps, NaN where rows are missing.

    Raises:
        Defect: time stands still, goes back, has another step, or is mostly missing.
    """
    steps_s = np.diff(time_s)
    if (steps_s < 0).any():
        raise Defect("time_goes_back", "Its column t goes back.")
    if (steps_s == 0).any():
        # Few digits write neighbours alike; then only the rate of the whole can be told.
        _check_rate(float(steps_s.mean()))
        return ecg_mv
    usual_s = float(np.median(steps_s))
    _check_rate(usual_s)
    hole = steps_s > HOLE_STEPS * usual_s
    # The mean is finer than the median where times are rounded.
    step_s = float(steps_s[~hole].mean())
    lost = np.where(hole, np.rint(steps_s / step_s) - 1, 0)
    if len(time_s) / (len(time_s) + lost.sum()) < 1 - MAX_HOLE_SHARE:
        detail = f"More than {100 * MAX_HOLE_SHARE:g} % of its rows are missing by its column t."
        raise Defect("missing_rows", detail)
    place = np.arange(len(time_s)) + np.concatenate([[0], np.cumsum(lost)]).astype(np.int64)
    spread = np.full(place[-1] + 1, np.nan)
    spread[place] = ecg_mv
    return spread


def _check_rate(step_s: float) -> None:
    if abs(step_s * RATE_HZ - 1) > RATE_TOLERANCE:
        rate = f"{1 / step_s:g} Hz" if step_s > 0 else "no rate"
        raise Defect("wrong_rate", f"Sampled at {rate} instead of {RATE_HZ:g} Hz.")


def _scale(ecg_mv: np.ndarray) -> tuple[float, int]:
    """Gain, the highest power of two for which all samples fit, and the baseline to it.

    Raises:
        Defect: there is no sample, or their range is none of an ECG in millivolts.
    """
    known = ecg_mv[~np.isnan(ecg_mv)]
    if not len(known):
        raise Defect("no_usable_lead", "Its column ekg has no value.", LEAD)
    low_mv, high_mv = float(known.min()), float(known.max())
    middle_mv = low_mv / 2 + high_mv / 2
    gain_per_mv = HIGHEST_GAIN_PER_MV
    while gain_per_mv >= 1 and (
        (high_mv - low_mv) * gain_per_mv > _USED_STEPS
        or abs(middle_mv) * gain_per_mv > _HIGHEST_BASELINE
    ):
        gain_per_mv //= 2
    if gain_per_mv < 1:
        detail = f"Its column ekg spans {high_mv - low_mv:.3g} mV: that is no ECG."
        raise Defect("implausible_amplitude", detail, LEAD)
    return float(gain_per_mv), -round(middle_mv * gain_per_mv)
