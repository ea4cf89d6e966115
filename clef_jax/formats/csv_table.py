"""Tables of text (`.csv`, `.tsv`, `.txt`): a column for each lead, and perhaps one for time.

The form that PhysioNet's rdsamp prints and the ECG files of Apple's watch are tables of this kind.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _array, _recording, _text
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.formats._text import Layout
from clef_jax.signal import unit as unit_lib

_MAX_FILE_BYTES = 2 << 30
"""The whole table is in memory."""
_TIME = {"time", "times", "t", "timestamp", "elapsed time", "elapsed_time", "datetime"}
_NUMBER = {"sample", "samples", "sample number", "sample #", "index", "idx", "n", "#"}
_EVEN = 1e-3
"""Steps of a column without name are even up to this share: then it counts samples or time."""
_WHOLE = 1e-3
"""A rate this close to a whole number is that: times are printed with few digits."""


def looks_like(path: Path) -> bool:
    """Whether a file is a table of numbers, or empty; lists and texts to read are not."""
    return path.stat().st_size == 0 or _text.layout(path) is not None


def open_table(path: Path, hints: Hints) -> Iterator[Opened]:
    """The one recording of a table. What the table says itself counts before the hints, but for
    the rate: times are often printed with too few digits.

    Raises:
        Defect: it is no table of numbers, none of its columns is a lead, or the rate is not known.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} has more than 2 GiB, which tables are read up to.")
    layout = _text.layout(path)
    if layout is None:
        raise Defect("unreadable", f"{path.name} is no table of numbers.")
    columns = _columns(path, layout)
    time = _time_column(columns, layout)
    told, notes = _rate(columns, layout, time)
    rate = _recording.check_rate(hints.sample_rate_hz or told, path.name)
    if told is not None and abs(rate - told) > 0.01 * rate:
        detail = f"It says {told:g} Hz itself, but was read at the {rate:g} Hz that were asked for."
        notes.append(Note("wrong_rate", detail))
    chosen, more = _leads(layout, [i for i in range(len(columns)) if i != time], columns)
    if not chosen:
        raise Defect("no_ecg_lead", f"No column of {path.name} is an ECG lead.")
    scales = [_recording.scale(layout.units[i] or layout.unit, hints) for i in chosen]
    rows = [columns[i] * factor for i, (factor, _) in zip(chosen, scales, strict=True)]
    known = all(is_known for _, is_known in scales)
    own = tuple(layout.names[i] for i in chosen)
    if own == ("",):
        own = (layout.lead,)
    names, unnamed = _recording.names_of(own, hints, len(chosen))
    yield Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=len(rows[0]),
        unit_known=known,
        read=functools.partial(_array.read, _recording.as_float32(np.stack(rows)), 1.0),
        notes=(*notes, *more, *unnamed, *_recording.unit_notes(known)),
    )


def _columns(path: Path, layout: Layout) -> list[np.ndarray]:
    """float64 [T] of every column, times of clocks in seconds."""
    import pandas as pd  # half a second to import, and only tables need it

    texts = set(layout.clock_columns)
    kinds: Any = {i: str if i in texts else np.float64 for i in range(layout.num_columns)}
    try:
        table = pd.read_csv(
            path,
            sep=layout.separator,
            decimal=layout.decimal,
            skiprows=layout.first_line,
            header=None,
            comment="#",
            skipinitialspace=True,
            na_values=list(_text.MISSING),
            dtype=kinds,
            encoding_errors="replace",
        )
    except (ValueError, OverflowError):  # also pandas' own; its words quote the file
        detail = f"{path.name} is no table of numbers in every line."
        raise Defect("unreadable", detail) from None
    columns = []
    for i in range(layout.num_columns):
        if i in texts:
            columns.append(np.array([_text.clock_seconds(str(text)) for text in table[i]]))
        else:
            columns.append(table[i].to_numpy(np.float64))
    return columns


def _time_column(columns: list[np.ndarray], layout: Layout) -> int | None:
    """The column of times or sample numbers, by its name or because it rises evenly."""
    if layout.clock_columns:
        return layout.clock_columns[0]
    for i, name in enumerate(layout.names):
        if name.lower() in _TIME | _NUMBER or unit_lib.seconds(name) is not None:
            # A lead may not be called so; only what rises is time.
            return i if len(columns) > 1 else None
    steps = np.diff(columns[0])
    if layout.names[0] or len(columns) < 2 or len(steps) < 2 or not steps[0] > 0:
        return None
    mean = steps.mean()
    return 0 if (np.abs(steps - mean) <= _EVEN * mean + 1e-9 * columns[0].max()).all() else None


def _rate(
    columns: list[np.ndarray], layout: Layout, time: int | None
) -> tuple[float | None, list[Note]]:
    """The rate that the table says or its times mean, None if neither; and what is odd."""
    if layout.sample_rate_hz is not None:
        return layout.sample_rate_hz, []
    unit = None if time is None else _time_unit(columns[time], layout, time)
    if time is None or unit is None or len(columns[time]) < 2:
        return None, []
    steps = np.diff(columns[time]) * unit
    usual = np.nanmedian(steps)
    if not usual > 0:
        raise Defect("wrong_rate", "Its times do not rise.")
    odd = int((~((steps > 0) & (steps < 2 * usual))).sum())
    # Times of a table with gaps say nothing of its rate on the whole.
    rate = float(1 / (usual if odd else steps.mean()))
    whole = round(rate)
    rate = float(whole) if abs(rate - whole) <= _WHOLE * rate else rate
    detail = f"Its times jump or go back {odd} times; it was read as if without gaps."
    return rate, [Note("uneven_time", detail)] if odd else []


def _time_unit(times: np.ndarray, layout: Layout, column: int) -> float | None:
    """Seconds of one of the column's unit; None if it counts samples, or that is not clear."""
    if column in layout.clock_columns:
        return 1.0
    name = layout.names[column].lower()
    if name in _NUMBER:
        return None
    unit = unit_lib.seconds(layout.units[column] or name)
    if unit is not None:
        return unit
    # Seconds without saying so; whole numbers are samples, or milliseconds: who knows.
    return 1.0 if len(times) > 1 and times[1] - times[0] < 0.5 else None


def _leads(
    layout: Layout, candidates: list[int], columns: list[np.ndarray]
) -> tuple[list[int], list[Note]]:
    """The columns that are leads. If some are called as leads are, the others are none."""
    some_named = any(leads.is_ecg(layout.names[i]) for i in candidates)
    chosen, notes = [], []
    for i in candidates:
        name, unit = layout.names[i], layout.units[i]
        if not name and np.isnan(columns[i]).all():  # after a delimiter at the end of lines
            continue
        no_voltage = bool(unit) and unit_lib.millivolts(unit) is None
        if no_voltage or leads.is_other_signal(name) or (some_named and not leads.is_ecg(name)):
            detail = f"The column {name or i + 1} is no ECG lead and was left out."
            notes.append(Note("other_signal", detail, name or None))
            continue
        chosen.append(i)
    return chosen, notes


FORMAT = Format(
    name="text", suffixes=(".csv", ".tsv", ".txt"), looks_like=looks_like, open=open_table
)
