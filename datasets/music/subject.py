"""Reads subject-info.csv: who the subjects are, and how they fared."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clef_jax.building import value
from clef_jax.data.record import Observed
from clef_jax.errors import UserError
from clef_jax.finding import Findings

from . import column
from .column import OPTIONAL

FILE = "subject-info.csv"
OUTCOMES = {
    0: "survivor",
    1: "non_cardiac_death",
    3: "sudden_cardiac_death",
    6: "pump_failure_death",
    7: "pump_failure_death",
}
"""By code of the cause of death. No text that we saw explains 7; public code takes it as 6."""
MASKED_AGE = ">89"
OLDEST_AGE_YEARS = 90
"""Is stored for it: the least that is true."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One row of the table."""

    subject_id: str
    """For example `P0001`."""
    has_holter: float
    """By the table: 1, 0, or NaN if it does not say."""
    cause: str | None
    """The code of the cause of death as it is written; None if there is no such column."""
    has_masked_age: bool
    observed: Observed
    numbers: Mapping[str, float]

    @property
    def outcome(self) -> str:
        """The class of the cause of death; empty if there is none."""
        code = value.number(self.cause)
        return OUTCOMES[int(code)] if code in OUTCOMES else ""

    @property
    def labels(self) -> dict[str, Any]:
        return {"outcome": self.outcome, **self.numbers}


def load(path: pathlib.Path, findings: Findings) -> tuple[list[Subject], tuple[str, ...]]:
    """The subjects of the table, each once, and the columns that it lacks.

    What is wrong with a row is added to the findings. Columns are found by name without regard to
    spaces and case, because the source's own have double ones.

    Raises:
        UserError: the file is no such table.
    """
    rows = _rows(path)
    names = next(rows, [])
    # Of columns with the same name the first counts.
    places = {column.key(names[place]): place for place in reversed(range(len(names)))}
    if column.key(column.ID) not in places:
        raise UserError(f"The table {path} has no column {column.ID!r}.", problem="missing_column")
    absent = tuple(name for name in OPTIONAL if column.key(name) not in places)
    wanted = {n: places[column.key(n)] for n in (column.ID, *OPTIONAL) if n not in absent}
    subjects: dict[str, Subject] = {}
    for number, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        missing = [""] * (len(names) - len(cells))
        found = _subject({name: [*cells, *missing][place] for name, place in wanted.items()})
        name = found.subject_id
        if not name or any(cells[len(names) :]):
            detail = f"Row {number} of {FILE} has no {column.ID}, or more cells than columns."
            findings.quarantine(name or f"{FILE} row {number}", "bad_row", detail)
        elif name in subjects:
            detail = f"Row {number} of {FILE} is about a subject of an earlier row, which counts."
            findings.quarantine(name, "duplicate_record", detail)
        else:
            subjects[name] = found
            if missing:
                detail = f"Row {number} of {FILE} has fewer cells than columns; some may be lost."
                findings.keep(name, "short_row", detail)
    return list(subjects.values()), absent


def _rows(path: pathlib.Path) -> Iterator[list[str]]:
    """The cells of each row, the head first, without quotes and spaces around them."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # what is read is the same in all encodings of the West
    delimiter = max(";,\t", key=text.partition("\n")[0].count)
    # Line by line, so that a quote that is never closed costs one row and not all that follow.
    for line in io.StringIO(text, newline=None):
        try:
            yield from _stripped(csv.reader([line.rstrip("\n")], delimiter=delimiter))
        except csv.Error as error:
            raise UserError(
                f"{path} cannot be read as a table: {error}.", problem="unreadable_table"
            ) from error


def _stripped(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    for cells in rows:
        yield [cell.strip().strip("'\"").strip() for cell in cells]


def _subject(row: Mapping[str, str]) -> Subject:
    found = row.get
    is_masked = (found(column.AGE) or "").replace(" ", "") == MASKED_AGE
    male = _flag(found(column.MALE))
    return Subject(
        subject_id=_identifier(row[column.ID]),
        has_holter=_flag(found(column.HAS_HOLTER)),
        cause=found(column.CAUSE),
        has_masked_age=is_masked,
        observed=Observed(
            age_years=OLDEST_AGE_YEARS if is_masked else value.between(found(column.AGE), 0, 120),
            male=value.male(found(column.MALE)) if math.isnan(male) else male,
            diabetes=_flag(found(column.DIABETES)),
            sbp_mmhg=value.between(found(column.SYSTOLIC), 40, 300),
            total_cholesterol_mmol_l=value.between(found(column.CHOLESTEROL), 0.5, 30),
            hdl_mmol_l=value.between(found(column.HDL), 0.1, 10),
        ),
        numbers={
            number.label.name: value.between(found(number.column), number.low, number.high)
            for number in column.NUMBERS
        },
    )


def _identifier(text: str) -> str:
    """`P0001`, also from `p0001`, `1` and `1.0`."""
    cleaned = value.integer_text(text).upper()
    return f"P{int(cleaned):04d}" if cleaned.isdecimal() else cleaned


def _flag(text: str | None) -> float:
    """1 for yes and 0 for no, also as `1,0`; NaN for anything else."""
    number = value.number(text)
    return number if number in (0, 1) else value.yes(text)
