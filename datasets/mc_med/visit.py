"""Reads the tables of MC-MED: which visits have lead II, and what is known about them."""

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
    """What the tables say."""

    rows: list[Row]
    """One per visit, in the order of the file: the columns above, `CSN`, and `line`."""
    file: str
    """The table that they are from."""
    segments: Mapping[str, float] | None
    """Number of segments of lead II by key, NaN where it is not said; None without a summary."""
    spellings: Mapping[str, tuple[str, ...]]
    """The ways in which the tables write a visit's number, by key: zeros before it come and go."""
    coverage: dict[str, str]


def find(source: pathlib.Path, name: str) -> pathlib.Path | None:
    """A table at the top of the source folder or in `data`; None if there is none."""
    return table.find(source, name) or table.find(source / "data", name)


def identifier(text: str | None) -> str:
    """A number as written, without the `.0` or exponent that other tools add; empty if it is
    none."""
    cleaned = value.integer_text(text)
    if cleaned.isascii() and cleaned.isdecimal():
        return cleaned
    number = value.number(text)
    return str(int(number)) if 0 < number < 2**53 and number.is_integer() else ""


def key(text: str | None) -> str:
    """By which the tables are joined: the number without leading zeros; empty if it is none."""
    return identifier(text).lstrip("0")


def load(
    database: duckdb.DuckDBPyConnection, source: pathlib.Path, label_source: str | None
) -> Tables:
    """Reads visits.csv and waveform_summary.csv, and the labels of the reference if given.

    Raises:
        UserError: there is no table of visits, or another one.
    """
    path, summary = find(source, NAME), find(source, SUMMARY)
    coverage = {}
    rows: list[dict[str, Any]] = []
    if path is not None:
        wanted = (*_ABOUT, *LABELS) if label_source is None else _ABOUT
        absent = table.view(database, NAME, path, ("CSN",), optional=wanted)
        rows = list(_rows(database, NAME))
        if absent:
            coverage[f"columns that {NAME}.csv lacks"] = ", ".join(absent)
    listed = {} if summary is None else _summary(database, summary)
    spellings = _spellings([row["CSN"] for row in rows] + list(listed))
    segments = None if summary is None else _by_key(listed)
    if summary is None:
        coverage[f"{SUMMARY}.csv"] = f"absent: visits that have a folder {LEAD} are taken"
    if label_source is not None:
        rows, given = _with_reference(database, label_source, rows, coverage)
        segments = segments if given is None else given
        ways = [way for group in spellings.values() for way in group]
        spellings = _spellings(ways + [row["CSN"] for row in rows])
    if segments is not None:
        known = {key(row["CSN"]) for row in rows}
        lost = sum(1 for k, count in segments.items() if k not in known and count != 0)
        coverage |= {"visits with lead II that have no row": f"{lost:,}"} if lost else {}
    return Tables(
        rows=list(rows),
        file=f"{NAME}.csv" if label_source is None else REFERENCE_FILE,
        segments=segments,
        spellings=spellings,
        coverage=coverage | table.unreadable(database),
    )


def _rows(database: duckdb.DuckDBPyConnection, name: str) -> Iterator[dict[str, Any]]:
    for line, row in enumerate(table.rows(database, name), start=2):
        yield {**row, "line": line}


def _summary(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str | None, float]:
    """Segments of lead II by the visit's number as written."""
    table.view(database, SUMMARY, path, ("CSN", "Type"), optional=("Segments",))
    return {
        row["CSN"]: value.number(row["Segments"])
        for row in _rows(database, SUMMARY)
        if (row["Type"] or "").strip().upper() == LEAD and key(row["CSN"])
    }


def _by_key(listed: Mapping[str | None, float]) -> dict[str, float]:
    return {key(text): count for text, count in listed.items()}


def _spellings(texts: Iterable[str | None]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for text in texts:
        found.setdefault(key(text), {})[identifier(text)] = None
    return {name: tuple(ways) for name, ways in found.items()}


def _with_reference(
    database: duckdb.DuckDBPyConnection,
    label_source: str,
    rows: list[dict[str, Any]],
    coverage: dict[str, str],
) -> tuple[list[dict[str, Any]], dict[str, float] | None]:
    """The visits of the reference's table with their labels, joined to what else is known of them;
    and their segments, None if the table does not say.

    Raises:
        UserError: the table is not there, or another one.
    """
    path = pathlib.Path(label_source)
    path = path / REFERENCE_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"The labels {path} do not exist; --label-source names {REFERENCE_FILE}.",
            problem="missing_file",
        )
    wanted = (*LABELS, "II_n_segments")
    absent = table.view(database, "reference", path, ("visit_id",), optional=wanted)
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
        coverage[f"visits that {REFERENCE_FILE} lacks"] = f"{without:,}, which are left out"
    if "II_n_segments" in absent:
        return merged, None
    return merged, {key(row["CSN"]): value.number(row["II_n_segments"]) for row in merged}
