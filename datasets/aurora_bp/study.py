"""Reads the tables of Aurora-BP: participants and measurements."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from clef_jax.building import table, value
from clef_jax.finding import Findings

PARTICIPANTS = "participants.tsv"
FEATURES = "features.tsv"
SYNTHETIC = "synthetic"
"""Phase of rows that are averages over measurements and have no waveform."""
_KEY = ("pid", "phase", "measurement")
_PERSON = (
    "age",
    "height",
    "weight",
    "gender",
    "self_report_htn",
    "high_blood_pressure",
    "diabetes",
)
_PRESSURES = ("sbp", "dbp", "baseline_sbp", "baseline_dbp")
_HYPERTENSIVE = {"managed": 1.0, "unmanaged": 1.0, "norm": 0.0, "normal": 0.0}

Row = Mapping[str, Any]
Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Rows of the tables. Keys are in lower case."""

    participants: Mapping[str, Row]
    """Rows of participants.tsv by participant."""
    features: Mapping[Key, Row]
    """Rows of features.tsv by participant, phase and measurement, as `make_key` returns them."""
    measurements: Mapping[Key, Row]
    """Rows of measurements_PROTOCOL.tsv, likewise; none if that file is absent."""
    coverage: dict[str, str]
    """Lines of the build's summary."""

    def number(self, key: Key, column: str, low: float, high: float) -> float:
        """Returns a number between limits, from the features or else the measurements; or NaN."""
        for rows in (self.features, self.measurements):
            number = value.between(rows.get(key, {}).get(column), low, high)
            if not math.isnan(number):
                return number
        return math.nan

    def text(self, key: Key, column: str) -> str:
        """Returns a text from the features, else from the measurements, else an empty one."""
        rows = (self.features.get(key, {}), self.measurements.get(key, {}))
        return next((text for row in rows if (text := (row.get(column) or "").strip())), "")


def make_key(pid: str | None, phase: str | None, measurement: str | None) -> Key:
    """Returns the key by which tables and files are joined: lower case, `_` for spaces."""
    joined = "_".join((measurement or "").replace("_", " ").split())
    return (pid or "").strip().lower(), (phase or "").strip().lower(), joined.lower()


def load(
    database: duckdb.DuckDBPyConnection, source: pathlib.Path, protocol: str, findings: Findings
) -> Study:
    """Reads the tables, and adds findings about rows that cannot be used.

    Raises:
        UserError: participants.tsv does not exist, or a table lacks a required column.
    """
    coverage: dict[str, str] = {}
    people = _rows(database, source / PARTICIPANTS, ("pid",), _PERSON, coverage)
    wanted = ("date_time", *_PRESSURES)
    features = _rows(database, source / FEATURES, _KEY, wanted, coverage)
    details = ("date_time", "sbp", "dbp", "waveforms_generated")
    file = f"measurements_{protocol}.tsv"
    measurements = _rows(database, source / file, _KEY, details, coverage)
    keyed = [((row["pid"] or "").strip().lower(), row) for row in people]
    return Study(
        participants=_first(keyed, PARTICIPANTS, findings),
        features=_first(_keyed(features), FEATURES, findings),
        measurements=_first(_keyed(measurements), file, findings),
        coverage=coverage | table.count_unreadable(database),
    )


def baselines(
    features: Mapping[Key, Row], column: str, low: float, high: float
) -> dict[str, float]:
    """Returns the first plausible baseline pressure of each participant."""
    first: dict[str, float] = {}
    for (pid, _, _), row in features.items():
        number = value.between(row[column], low, high)
        if not math.isnan(number):
            first.setdefault(pid, number)
    return first


def hypertension(row: Row) -> float:
    """Returns whether a participant reports high blood pressure, managed or not.

    Returns 1 if either of two columns says yes, 0 if one says no and none yes, NaN if both are
    unknown.
    """
    reported = (row.get("self_report_htn") or "").strip().lower()
    answers = (
        _HYPERTENSIVE.get(reported, value.yes(reported)),
        value.yes(row.get("high_blood_pressure")),
    )
    return max((answer for answer in answers if not math.isnan(answer)), default=math.nan)


def _rows(
    database: duckdb.DuckDBPyConnection,
    path: pathlib.Path,
    columns: Sequence[str],
    optional: Sequence[str],
    coverage: dict[str, str],
) -> list[Row]:
    """Returns the rows of a table; none, with a line of the summary, if the file is absent."""
    if path.name != PARTICIPANTS and not path.is_file():
        coverage[path.name] = "absent"
        return []
    view = path.stem
    absent = table.create_view(database, view, path, columns, optional=optional, delimiter="\t")
    if absent:
        coverage[f"columns that {path.name} lacks"] = ", ".join(absent)
    return list(table.read_rows(database, view))


def _keyed(rows: list[Row]) -> Iterator[tuple[Key, Row]]:
    return ((make_key(row["pid"], row["phase"], row["measurement"]), row) for row in rows)


def _first(keyed: Any, file: str, findings: Findings) -> dict[Any, Row]:
    """Returns the first row of each key, and adds findings about later and incomplete rows."""
    first: dict[Any, Row] = {}
    for key, row in keyed:
        parts = (key,) if isinstance(key, str) else key
        name = ".".join(parts)
        if not all(parts):
            detail = f"A row of {file} has an incomplete key; it is not used."
            findings.keep(f"{file} {name}", "bad_row", detail)
            continue
        if key in first:
            detail = f"Several rows of {file} are about {name}; the first is used."
            findings.keep(name, "duplicate_row", detail)
        first.setdefault(key, row)
    return first
