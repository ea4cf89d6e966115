"""Reads the tables of Aurora-BP: who took part, and what was measured."""

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
"""The phase of averages over other measurements, which have no waveform."""
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
    """What the tables say, in lower case where it is a key."""

    participants: Mapping[str, Row]
    features: Mapping[Key, Row]
    """By participant, phase, and measurement with `_` for spaces, as in the names of files."""
    measurements: Mapping[Key, Row]
    """Likewise from measurements_PROTOCOL.tsv, which may be absent."""
    coverage: dict[str, str]

    def number(self, key: Key, column: str, low: float, high: float) -> float:
        """A plausible value of a measurement: from the features, else from the measurements."""
        for rows in (self.features, self.measurements):
            found = value.between(rows.get(key, {}).get(column), low, high)
            if not math.isnan(found):
                return found
        return math.nan

    def text(self, key: Key, column: str) -> str:
        """Likewise a text; empty if there is none."""
        rows = (self.features.get(key, {}), self.measurements.get(key, {}))
        return next((found for row in rows if (found := (row.get(column) or "").strip())), "")


def key_of(pid: str | None, phase: str | None, measurement: str | None) -> Key:
    """By which tables and files are joined."""
    joined = "_".join((measurement or "").replace("_", " ").split())
    return (pid or "").strip().lower(), (phase or "").strip().lower(), joined.lower()


def load(
    database: duckdb.DuckDBPyConnection, source: pathlib.Path, protocol: str, findings: Findings
) -> Study:
    """Reads the tables; what is wrong with them is added to the findings.

    Raises:
        UserError: participants.tsv is not there, or a table is another one.
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
        coverage=coverage | table.unreadable(database),
    )


def baselines(
    features: Mapping[Key, Row], column: str, low: float, high: float
) -> dict[str, float]:
    """The first plausible baseline of each participant."""
    found: dict[str, float] = {}
    for (pid, _, _), row in features.items():
        number = value.between(row[column], low, high)
        if not math.isnan(number):
            found.setdefault(pid, number)
    return found


def hypertension(row: Row) -> float:
    """1 if a participant reports high blood pressure, managed or not, in either of the two columns;
    0 if one says no and none yes; NaN if none says anything."""
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
    """The rows of a table; none, which is told, if it is absent."""
    if path.name != PARTICIPANTS and not path.is_file():
        coverage[path.name] = "absent"
        return []
    view = path.stem
    absent = table.view(database, view, path, columns, optional=optional, delimiter="\t")
    if absent:
        coverage[f"columns that {path.name} lacks"] = ", ".join(absent)
    return list(table.rows(database, view))


def _keyed(rows: list[Row]) -> Iterator[tuple[Key, Row]]:
    return ((key_of(row["pid"], row["phase"], row["measurement"]), row) for row in rows)


def _first(keyed: Any, file: str, findings: Findings) -> dict[Any, Row]:
    """The first row of each key; later ones are told."""
    found: dict[Any, Row] = {}
    for key, row in keyed:
        parts = (key,) if isinstance(key, str) else key
        name = ".".join(parts)
        if not all(parts):
            detail = f"A row of {file} does not say what it is about; it is not used."
            findings.keep(f"{file} {name}", "bad_row", detail)
            continue
        if key in found:
            detail = f"Several rows of {file} are about {name}; the first counts."
            findings.keep(name, "duplicate_row", detail)
        found.setdefault(key, row)
    return found
