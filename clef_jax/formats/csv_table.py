"""Reads text tables (`.csv`, `.tsv`, `.txt`) with a column for each lead, and optionally time, or
with a row for each lead.

The output of PhysioNet's rdsamp and the ECG files of the Apple Watch are such tables.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _array, _columns, _recording, _text
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.formats._text import Layout

_MAX_FILE_BYTES = 2 << 30
"""Largest accepted file, because the complete table is in memory."""
_MIN_ROW_SECONDS = 2.0
"""Smallest duration of a row that is taken for a lead; shorter rows are rather beats."""
_ROW_COUNTS = (1, 2, 3, 6, 8, 12, 15)
"""Numbers of rows that are taken for leads; other numbers are rather those of recordings."""
_MIN_ASPECT_RATIO = 4
"""Smallest ratio of the axes of a table without names from which the longer one is time."""


def looks_like(path: Path) -> bool:
    """Returns whether a file is empty, or a table of numbers that may be a signal."""
    if path.stat().st_size == 0:
        return True
    layout = _text.layout(path)
    if layout is None:
        return False
    return any(_columns.may_be_signal(name) for name in layout.names)


def open_table(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of a table.

    What the table states has priority over the hints, except for the rate, because times are often
    printed with too few digits.

    Raises:
        Defect: the file is not a table of numbers, no column is a lead, the rate is unknown,
            or the rows are of several recordings.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 2 GiB, the largest size of a table.")
    layout = _text.layout(path)
    if layout is None:
        raise Defect("unreadable", f"{path.name} is not a table of numbers.")
    layout, columns, is_wide = _oriented(path, layout, hints)
    _columns.check_one_recording(columns, layout, path.name)
    time = _columns.time_column(columns, layout)
    stated, notes = _columns.rate(columns, layout, time)
    rate = _recording.check_rate(hints.sample_rate_hz or stated, path.name)
    if is_wide and len(columns[0]) < _MIN_ROW_SECONDS * rate:
        raise _ambiguous(path.name, len(columns[0]))
    if stated is not None and abs(rate - stated) > 0.01 * rate:
        detail = f"The table states {stated:g} Hz, but was read at the requested {rate:g} Hz."
        notes.append(Note("wrong_rate", detail))
    chosen, more = _columns.choose_leads(
        layout, [i for i in range(len(columns)) if i != time], columns
    )
    if not chosen:
        raise Defect("no_ecg_lead", f"No column of {path.name} is an ECG lead.")
    scales = [_recording.scale(layout.units[i] or layout.unit, hints) for i in chosen]
    rows = [columns[i] * factor for i, (factor, _) in zip(chosen, scales, strict=True)]
    known = all(is_known for _, is_known in scales)
    own = tuple(layout.names[i] for i in chosen)
    if own == ("",):
        own = (layout.lead,)
    names, unnamed = _recording.lead_names(own, hints, len(chosen))
    yield Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=len(rows[0]),
        unit_known=known,
        read=functools.partial(_array.read, _recording.as_float32(np.stack(rows)), 1.0),
        notes=(*notes, *more, *unnamed, *_recording.unit_notes(known)),
    )


def _read_columns(path: Path, layout: Layout) -> list[np.ndarray]:
    """Returns each column, float64 [T], with clock times in seconds."""
    import pandas as pd  # half a second to import; only tables need it

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
            encoding=layout.encoding,
            encoding_errors="replace",
        )
    except (ValueError, OverflowError):  # also pandas' errors; their messages quote the file
        raise _malformed(path) from None
    columns = []
    for i in range(layout.num_columns):
        if i in texts:
            columns.append(_text.clock_seconds(map(str, table[i])))
        else:
            columns.append(table[i].to_numpy(np.float64))
    return columns


def _malformed(path: Path) -> Defect:
    return Defect("unreadable", f"{path.name} is not a table of numbers in every line.")


def _ambiguous(where: str, num_columns: int) -> Defect:
    detail = (
        f"{where} has {counted(num_columns, 'column')} without names of leads, and its rows are "
        "not clearly leads; they may be beats. Give the lead names, or write a column for each "
        "lead."
    )
    return Defect("ambiguous_shape", detail)


def _oriented(path: Path, layout: Layout, hints: Hints) -> tuple[Layout, list[np.ndarray], bool]:
    """Returns layout and columns of a table, and whether its rows were leads, now columns.

    Raises:
        Defect: the table is malformed, or its leads are neither in the columns nor in the rows.
    """
    most, num_named = _recording.MAX_UNNAMED_LEADS, len(hints.lead_names or ())
    if any(leads.is_ecg(name) for name in layout.names):
        return layout, _read_columns(path, layout), False
    if layout.num_columns > _recording.MAX_LEADS:
        table = _rows(path, layout, num_named or most)
    else:
        columns = _read_columns(path, layout)
        num_columns = len(columns) - (_columns.time_column(columns, layout) is not None)
        is_long = len(columns[0]) >= _MIN_ASPECT_RATIO * num_columns
        is_clear = is_long or num_columns == 1 or any(layout.names)
        if num_columns == num_named or (num_columns <= most and is_clear):
            return layout, columns, False
        table = np.stack(columns, 1)
    ambiguous = _ambiguous(path.name, table.shape[1])
    layout, columns = _transposed(table, layout)
    num_rows = len(columns) - (_columns.time_column(columns, layout) is not None)
    if num_rows == num_named:
        return layout, columns, False
    if num_rows not in _ROW_COUNTS or len(columns[0]) < _MIN_ASPECT_RATIO * num_rows:
        raise ambiguous
    table = np.stack(columns)
    is_integer = (table == np.rint(table)).all(axis=0)
    at_ends = is_integer[[0, -1]] & (table[:, [0, -1]] != 0).any(axis=0)
    if at_ends.any() and not is_integer.all():  # a class or a number beside the samples
        raise ambiguous
    return layout, columns, True


def _rows(path: Path, layout: Layout, most: int) -> np.ndarray:
    """Returns the rows of a table with many columns, float64 [rows, columns].

    Raises:
        Defect: the table is malformed, or has more than `most` rows and one of times.
    """
    mark = None if layout.separator == r"\s+" else layout.separator
    rows = []
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(_text.MAX_LINE_BYTES), "")):
            if number < layout.first_line or _text.is_comment(line):
                continue
            row = _text.numbers(_text.split(line, mark), layout.decimal)
            if row is None or len(row) != layout.num_columns:
                raise _malformed(path)
            rows.append(row)
            if len(rows) > most + 1:
                raise _ambiguous(path.name, layout.num_columns)
    if not rows:
        raise _malformed(path)
    return np.stack(rows)


def _transposed(table: np.ndarray, layout: Layout) -> tuple[Layout, list[np.ndarray]]:
    """Returns layout and columns of a table, float64 [leads, T], of a lead in each row."""
    numbers = table[:, 0] - np.arange(len(table))
    if len(table) > 1 and numbers[0] in (0, 1) and (numbers == numbers[0]).all():
        table = table[:, 1:]  # row numbers
    if np.isnan(table[:, -1]).all():
        table = table[:, :-1]  # each line ends with a delimiter
    texts = ("",) * len(table)
    layout = dataclasses.replace(
        layout, num_columns=len(table), names=texts, units=texts, clock_columns=()
    )
    return layout, list(table)


FORMAT = Format(
    name="text", suffixes=(".csv", ".tsv", ".txt"), looks_like=looks_like, open=open_table
)
