"""Reads the subjects and their outcomes from subject-info.csv."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clef_jax.building import clinical, value
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
"""Classes by code of the cause of death. The documentation does not explain 7; public code
treats it as 6."""
MASKED_AGE = ">89"
OLDEST_AGE_YEARS = 90
"""Age stored for `>89`, its lowest possible value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A subject: one row of the table."""

    subject_id: str
    """For example `P0001`."""
    has_holter: float
    """Whether the table states a Holter: 1, 0, or NaN if unknown."""
    cause: str | None
    """Code of the cause of death as written; None if the table lacks the column."""
    has_masked_age: bool
    """Whether the table states the age as `>89`."""
    observed: Observed
    implausible: tuple[str, ...]
    """Names of the observed values that were implausible and are missing."""
    numbers: Mapping[str, float]
    """Numeric labels by name."""

    @property
    def outcome(self) -> str:
        """The class of the cause of death; empty if unknown."""
        code = value.number(self.cause)
        return OUTCOMES[int(code)] if code in OUTCOMES else ""

    @property
    def labels(self) -> dict[str, Any]:
        """All labels of the subject by name."""
        return {"outcome": self.outcome, **self.numbers}


def load(path: pathlib.Path, findings: Findings) -> tuple[list[Subject], tuple[str, ...]]:
    """Returns the subjects of the table, each once, and the columns that it lacks.

    Adds findings about rows that cannot be used. Names of columns are compared without spaces and
    case, because some names of the source have double spaces.

    Raises:
        UserError: the file is not a table, or has no column of ids.
    """
    rows = _rows(path)
    names = next(rows, [])
    # Of several columns with the same name, the first is used.
    positions = {column.key(names[i]): i for i in reversed(range(len(names)))}
    if column.key(column.ID) not in positions:
        raise UserError(f"The table {path} has no column {column.ID!r}.", problem="missing_column")
    absent = tuple(name for name in OPTIONAL if column.key(name) not in positions)
    wanted = {n: positions[column.key(n)] for n in (column.ID, *OPTIONAL) if n not in absent}
    subjects: dict[str, Subject] = {}
    for number, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        missing = [""] * (len(names) - len(cells))
        person = _subject({column: [*cells, *missing][i] for column, i in wanted.items()})
        name = person.subject_id
        if not name or any(cells[len(names) :]):
            detail = f"Row {number} of {FILE} has no {column.ID}, or more cells than columns."
            findings.quarantine(name or f"{FILE} row {number}", "bad_row", detail)
        elif name in subjects:
            detail = f"Row {number} of {FILE} repeats the subject of an earlier row, which is used."
            findings.quarantine(name, "duplicate_record", detail)
        else:
            subjects[name] = person
            if missing:
                detail = f"Row {number} of {FILE} has fewer cells than columns."
                findings.keep(name, "short_row", detail)
    return list(subjects.values()), absent


def _rows(path: pathlib.Path) -> Iterator[list[str]]:
    """Yields the cells of each row, names of columns first, without surrounding quotes and spaces.

    Raises:
        UserError: a row cannot be parsed.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The cells that are read are the same in all Western encodings.
        text = data.decode("latin-1")
    delimiter = max(";,\t", key=text.partition("\n")[0].count)
    # Line by line, so that an unclosed quote affects one row and not all that follow.
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
    cell = row.get
    is_masked = (cell(column.AGE) or "").replace(" ", "") == MASKED_AGE
    male = _flag(cell(column.MALE))
    stated = Observed(
        age_years=OLDEST_AGE_YEARS if is_masked else value.between(cell(column.AGE), 0, 120),
        male=value.male(cell(column.MALE)) if math.isnan(male) else male,
        diabetes=_flag(cell(column.DIABETES)),
        sbp_mmhg=value.number(cell(column.SYSTOLIC)),
        total_cholesterol_mmol_l=value.number(cell(column.CHOLESTEROL)),
        hdl_mmol_l=value.number(cell(column.HDL)),
    )
    implausible = clinical.implausible(stated)
    return Subject(
        subject_id=_identifier(row[column.ID]),
        has_holter=_flag(cell(column.HAS_HOLTER)),
        cause=cell(column.CAUSE),
        has_masked_age=is_masked,
        observed=clinical.without(stated, implausible),
        implausible=implausible,
        numbers={
            number.label.name: value.between(cell(number.column), number.low, number.high)
            for number in column.NUMBERS
        },
    )


def _identifier(text: str) -> str:
    """Returns an id such as `P0001`, also for `p0001`, `1` and `1.0`."""
    cleaned = value.integer_text(text).upper()
    return f"P{int(cleaned):04d}" if cleaned.isdecimal() else cleaned


def _flag(text: str | None) -> float:
    """Returns 1 for yes and 0 for no, also for numbers such as `1,0`; NaN for other text."""
    number = value.number(text)
    return number if number in (0, 1) else value.yes(text)
