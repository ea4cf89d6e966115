"""Reads the tables of MC-MED: the visits with lead II, and their metadata."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb

from clef_jax.building import table, value
from clef_jax.errors import UserError

NAME = "visits"
SUMMARY = "waveform_summary"
REFERENCE_FILE = "variables_encounter_all.csv"
LEAD = "II"
_ABOUT = ("MRN", "Age", "Gender", "Arrival_time")
LABELS = ("Triage_acuity", "ED_dispo", "DC_dispo", "Triage_SBP", "Triage_DBP")

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """Contents of the tables."""

    rows: list[Row]
    """One row per visit, in the order of the file: the columns above, `CSN`, and `line`."""
    file: str
    """Name of the table of these rows."""
    segments: Mapping[str, float] | None
    """Number of segments of lead II by key, NaN where unknown; None without a summary table."""
    spellings: Mapping[str, tuple[str, ...]]
    """Spellings of a visit's number in the tables, by key; they differ in leading zeros."""
    coverage: dict[str, str]
    """Lines of the build's summary."""


def find_table(source: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the path of a table in the source folder or its folder `data`; None if absent."""
    return table.find_file(source, name) or table.find_file(source / "data", name)


def identifier(text: str | None) -> str:
    """Returns a number as written, without the `.0` or exponent that spreadsheets add.

    Returns an empty text if it is not a number.
    """
    cleaned = value.integer_text(text)
    if cleaned.isascii() and cleaned.isdecimal():
        return cleaned
    number = value.number(text)
    return str(int(number)) if 0 < number < 2**53 and number.is_integer() else ""


def key(text: str | None) -> str:
    """Returns the key that joins the tables: the number without leading zeros; empty if invalid."""
    return identifier(text).lstrip("0")


def load(
    database: duckdb.DuckDBPyConnection, source: pathlib.Path, label_source: str | None
) -> Tables:
    """Reads visits.csv and waveform_summary.csv, and the labels of the reference if given.

    Raises:
        UserError: the table of visits does not exist, or lacks a required column.
    """
    path, summary = find_table(source, NAME), find_table(source, SUMMARY)
    coverage = {}
    rows: list[dict[str, Any]] = []
    if path is not None:
        wanted = (*_ABOUT, *LABELS) if label_source is None else _ABOUT
        absent = table.create_view(database, NAME, path, ("CSN",), optional=wanted)
        rows = list(_rows(database, NAME))
        if absent:
            coverage[f"columns that {NAME}.csv lacks"] = ", ".join(absent)
    listed = {} if summary is None else _summary(database, summary)
    spellings = _spellings([row["CSN"] for row in rows] + list(listed))
    segments = None if summary is None else _by_key(listed)
    if summary is None:
        coverage[f"{SUMMARY}.csv"] = f"absent: visits with a folder {LEAD} are used"
    if label_source is not None:
        rows, reference_segments = _with_reference(database, label_source, rows, coverage)
        segments = segments if reference_segments is None else reference_segments
        known_spellings = [spelling for group in spellings.values() for spelling in group]
        spellings = _spellings(known_spellings + [row["CSN"] for row in rows])
    if segments is not None:
        known = {key(row["CSN"]) for row in rows}
        num_lost = sum(1 for k, count in segments.items() if k not in known and count != 0)
        coverage |= {"visits with lead II that have no row": f"{num_lost:,}"} if num_lost else {}
    return Tables(
        rows=list(rows),
        file=f"{NAME}.csv" if label_source is None else REFERENCE_FILE,
        segments=segments,
        spellings=spellings,
        coverage=coverage | table.count_unreadable(database),
    )


def _rows(database: duckdb.DuckDBPyConnection, name: str) -> Iterator[dict[str, Any]]:
    for line, row in enumerate(table.read_rows(database, name), start=2):
        yield {**row, "line": line}


def _summary(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str | None, float]:
    """Returns the number of segments of lead II by the visit's number as written."""
    table.create_view(database, SUMMARY, path, ("CSN", "Type"), optional=("Segments",))
    return {
        row["CSN"]: value.number(row["Segments"])
        for row in _rows(database, SUMMARY)
        if (row["Type"] or "").strip().upper() == LEAD and key(row["CSN"])
    }


def _by_key(listed: Mapping[str | None, float]) -> dict[str, float]:
    return {key(text): count for text, count in listed.items()}


def _spellings(texts: Iterable[str | None]) -> dict[str, tuple[str, ...]]:
    """Returns the unique spellings of each visit's number, by its key."""
    spellings: dict[str, dict[str, None]] = {}
    for text in texts:
        spellings.setdefault(key(text), {})[identifier(text)] = None
    return {name: tuple(group) for name, group in spellings.items()}


def _with_reference(
    database: duckdb.DuckDBPyConnection,
    label_source: str,
    rows: list[dict[str, Any]],
    coverage: dict[str, str],
) -> tuple[list[dict[str, Any]], dict[str, float] | None]:
    """Returns the visits of the reference's table, joined to the rows of visits.csv.

    Also returns their numbers of segments, or None if the table has no such column.

    Raises:
        UserError: the table does not exist, or lacks a required column.
    """
    path = pathlib.Path(label_source)
    path = path / REFERENCE_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"The table of labels {path} does not exist; give the path of {REFERENCE_FILE} with "
            "--label-source.",
            problem="missing_file",
        )
    wanted = (*LABELS, "II_n_segments")
    absent = table.create_view(database, "reference", path, ("visit_id",), optional=wanted)
    if absent:
        coverage[f"columns that {REFERENCE_FILE} lacks"] = ", ".join(absent)
    known = {key(row["CSN"]): row for row in reversed(rows)}
    nothing = dict.fromkeys(_ABOUT)
    merged = []
    for row in _rows(database, "reference"):
        row["CSN"] = row.pop("visit_id")
        merged.append({**nothing, **known.get(key(row["CSN"]), {}), **row})
    without = len(set(known) - {key(row["CSN"]) for row in merged} - {""})
    if without:
        coverage[f"visits that {REFERENCE_FILE} lacks"] = f"{without:,}, which are excluded"
    if "II_n_segments" in absent:
        return merged, None
    return merged, {key(row["CSN"]): value.number(row["II_n_segments"]) for row in merged}
