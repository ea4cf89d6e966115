"""Distinguishes the columns of a text table: leads, times, counters and others."""

import re

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats._recording import MAX_LEADS, Note
from clef_jax.formats._text import Layout
from clef_jax.signal import unit as unit_lib

_MIN_COUNTING = 0.95
"""Smallest fraction of the steps of a counter that are 1 or back to its beginning; some samples may
be lost."""
_MIN_RISING = 20
"""Length from which a column that never falls is one of times; an ECG does fall."""
_TIME = re.compile(
    r"t|.*\b(?:times?|timestamps?|datetime|zeit|zeitpunkt|zeitstempel|uhrzeit|temps|tiempo|tempo|"
    r"hora|heure)\b.*",
    re.IGNORECASE,
)
_NUMBER = {"sample", "samples", "sample number", "sample #", "sample index", "index", "idx", "n"}
_NUMBER |= {"#", "no", "nr", "nseq", "seq", "sequence", "counter", "packet", "frame"}
_NO_LEAD = {"age", "sex", "gender", "label", "labels", "class", "target", "id", "patient"}
_NO_LEAD |= {"patient id", "subject", "subject id", "record", "record id", "ecg id", "weight"}
_NO_LEAD |= {"height", "bmi", "hr", "heart rate", "heartrate", "bpm", "rr", "quality", "event"}
_NO_LEAD |= {"trigger", "marker", "annotation", "battery", "split", "fold", "ambient"}
"""Names of columns that are no signals."""
_OWNER = re.compile(
    r"(?:patient|subject|person|participant|case|record|recording|ecg|study|exam|stay|hadm|file|"
    r"filename)(?: ?id)"
)
"""Names of columns that number recordings or patients, without the plain `id` of rows."""
_LEAD_NUMBER = re.compile(r"(?:lead|channel|electrode|derivation)(?: ?(?:id|no|nr|number|index))?")
"""Names of columns that number the leads of a table with a row for each sample of each lead."""
_OF_PATIENT = {"patient", "subject", "record", "age", "sex", "gender", "height", "weight", "bmi"}
"""Names of columns that are the same in all samples of a recording."""
_EPOCH_SECONDS = 1e9, 1e10
"""Times since 1970 in seconds, between the years 2001 and 2286."""
_STEP_TOLERANCE = 1e-3
"""Largest relative deviation of the steps of an unnamed column of times or sample numbers."""
_CONTRADICTION = 0.1
"""Smallest relative difference of a stated rate and that of the times that is reported."""
_RATE_TOLERANCE = 1e-3
"""Largest relative difference at which a rate is rounded to an integer, because times are printed
with few digits."""


def plain_name(name: str) -> str:
    """Returns the name of a column in lower case, with spaces for underscores."""
    return re.sub(r"[\s_]+", " ", name.lower()).strip()


def may_be_signal(name: str) -> bool:
    """Returns whether a column's name is not that of a number, a label or a patient's value."""
    plain = plain_name(name)
    return plain not in _NO_LEAD | _NUMBER and not _OWNER.fullmatch(plain)


def check_one_recording(columns: list[np.ndarray], layout: Layout, where: str) -> None:
    """Checks that all rows of a table are samples of the same recording, at different times.

    Raises:
        Defect: a column that numbers recordings or patients, or describes a patient, has several
            values, as in a table of many recordings one below the other, or of features.
    """
    for name, column in zip(layout.names, columns, strict=True):
        plain = plain_name(name)
        if len(columns) > 1 and _LEAD_NUMBER.fullmatch(plain) and _numbers_blocks(column):
            detail = (
                f"The rows of {where} are of several leads, which its column {name} numbers. Write "
                "a column for each lead."
            )
            raise Defect("ambiguous_shape", detail)
        if plain != "id" and plain not in _OF_PATIENT and not _OWNER.fullmatch(plain):
            continue
        present = column[np.isfinite(column)]
        count = len(np.unique(present))
        if count < 2 or (plain == "id" and (np.diff(present) == 1).all()):  # numbers of rows
            continue
        detail = (
            f"The rows of {where} are of several recordings or patients: its column {name} has "
            f"{count:,} values. Write a file for each recording."
        )
        raise Defect("ambiguous_shape", detail)


def _numbers_blocks(column: np.ndarray) -> bool:
    """Returns whether a column holds several small whole numbers only, as those of leads."""
    values = np.unique(column)[: MAX_LEADS + 1]
    return 1 < len(values) <= MAX_LEADS and bool(
        (values == np.rint(values)).all() and values[0] >= 0 and values[-1] <= MAX_LEADS
    )


def time_column(columns: list[np.ndarray], layout: Layout) -> int | None:
    """Returns the column of times or sample numbers: one of such a name or unit, or with even
    steps.
    """
    if layout.clock_columns:
        return layout.clock_columns[0]
    if len(columns) < 2:  # that column is the lead
        return None
    names = [plain_name(name) for name in layout.names]
    for i, name in enumerate(names):
        if _TIME.fullmatch(name) or unit_lib.seconds(name) is not None:
            return i
    for i, unit in enumerate(layout.units):
        rises = (np.diff(columns[i]) > 0).sum() > len(columns[i]) / 2
        if unit_lib.seconds(unit) is not None and rises:
            return i
    for i, name in enumerate(names):
        if name in _NUMBER:
            return i
    steps = np.diff(columns[0])
    if layout.names[0] or len(steps) < 2:
        return None
    if len(steps) >= _MIN_RISING and (steps >= 0).all() and (steps > 0).mean() > 0.5:
        return 0
    mean = steps.mean()
    tolerance = _STEP_TOLERANCE * mean + 1e-9 * columns[0].max()
    return 0 if steps[0] > 0 and (np.abs(steps - mean) <= tolerance).all() else None


def rate(
    columns: list[np.ndarray], layout: Layout, time: int | None
) -> tuple[float | None, list[Note]]:
    """Returns the rate that the table states or its times imply, else None, and notes on times."""
    stated = layout.sample_rate_hz
    if time is None or len(columns[time]) < 2 or _is_counter(columns[time]):
        return stated, []
    unit = _time_unit(columns[time], layout, time)
    step, num_uneven = _step(columns[time])
    detail = (
        f"The times jump or decrease {num_uneven} times; the table was read as if it had no gaps."
    )
    notes = [Note("uneven_time", detail)] if num_uneven else []
    if unit is None or (stated is not None and (num_uneven or not step > 0)):
        return stated, notes
    if not step > 0:
        raise Defect("wrong_rate", "The times of the table do not increase.")
    rate = 1 / (step * unit)
    rounded = round(rate)
    rate = float(rounded) if abs(rate - rounded) <= _RATE_TOLERANCE * rate else rate
    if stated is not None and abs(rate - stated) > _CONTRADICTION * stated:
        detail = f"The table states {stated:g} Hz, but its times are those of {rate:g} Hz."
        notes.append(Note("wrong_rate", detail))
    return rate if stated is None else stated, notes


def _step(times: np.ndarray) -> tuple[float, int]:
    """Returns the step of times or sample numbers, and how often they jump or decrease."""
    steps = np.diff(times)
    mean, rising = float(steps.mean()), steps[steps > 0]
    # Times that are printed with too few digits repeat, and rise by the last digit.
    repeats = (steps >= 0).all() and 0 < len(rising) < len(steps)
    if repeats and rising.max() <= max(2.01 * mean, 1.01 * rising.min()):
        return mean, 0
    median = float(np.nanmedian(steps))
    num_uneven = int((~((steps > 0) & (steps < 2 * median))).sum())
    # With gaps, the mean step does not give the rate.
    return median if num_uneven else mean, num_uneven


def _time_unit(times: np.ndarray, layout: Layout, column: int) -> float | None:
    """Returns the seconds per unit of a column of times; None for sample numbers or if unclear."""
    if column in layout.clock_columns:
        return 1.0
    name = plain_name(layout.names[column])
    if name in _NUMBER:
        return None
    unit = unit_lib.seconds(layout.units[column] or name)
    if unit is not None:
        return unit
    for power in (1, 1e3, 1e6, 1e9):
        if _EPOCH_SECONDS[0] * power <= times[0] < _EPOCH_SECONDS[1] * power:
            return 1 / power
    # Small steps are seconds; integers may be sample numbers or milliseconds.
    return 1.0 if len(times) > 1 and times[1] - times[0] < 0.5 else None


def choose_leads(
    layout: Layout, candidates: list[int], columns: list[np.ndarray]
) -> tuple[list[int], list[Note]]:
    """Returns the columns that are leads. If some have names of leads, the others are excluded."""
    some_named = any(_is_lead(layout.names[i]) for i in candidates)
    chosen, notes = [], []
    for i in candidates:
        name, unit = layout.names[i], layout.units[i]
        if not name and np.isnan(columns[i]).all():  # each line ends with a delimiter
            continue
        no_voltage = bool(unit) and unit_lib.millivolts(unit) is None
        if no_voltage or i in layout.clock_columns or _is_other(name, columns[i], some_named):
            detail = f"The column {name or i + 1} is not an ECG lead and was excluded."
            notes.append(Note("other_signal", detail, name or None))
            continue
        chosen.append(i)
    return chosen, notes


def _is_lead(name: str) -> bool:
    return leads.is_ecg(name) and may_be_signal(name)


def _is_other(name: str, column: np.ndarray, some_named: bool) -> bool:
    """Returns whether name or numbers of a column say that it is no lead."""
    if _is_lead(name):
        return False
    known = not may_be_signal(name) or _TIME.fullmatch(plain_name(name)) is not None
    return some_named or known or leads.is_other_signal(name) or _is_counter(column)


def _is_counter(column: np.ndarray) -> bool:
    """Returns whether a column counts and starts again, such as 0 to 15."""
    low, high = column.min(), column.max()
    if not 3 <= high - low < len(column) / 2:  # also if a value is missing
        return False
    steps = np.diff(column)
    return bool(((steps == 1) | (steps == low - high)).mean() > _MIN_COUNTING)
