"""Reads scp_statements.csv: to which sets of labels each diagnostic statement belongs."""

import dataclasses
import pathlib

import duckdb

from clef_jax.building import table, value

FILE = "scp_statements.csv"
SETS = ("diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")


@dataclasses.dataclass(frozen=True)
class Statements:
    """What each SCP-ECG code stands for."""

    classes_of: dict[str, dict[str, str]]
    """For each set of labels: the class of each code that belongs to it."""

    def labels(self, codes: list[str]) -> dict[str, list[str]]:
        """The classes of a recording's codes in every set, sorted."""
        return {
            name: sorted({of[code] for code in codes if code in of})
            for name, of in self.classes_of.items()
        }

    def unknown(self, codes: list[str]) -> list[str]:
        """The codes that belong to no set."""
        known = set().union(*self.classes_of.values())
        return [code for code in codes if code not in known]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """All classes of each set, in alphabetical order."""
        return {name: tuple(sorted(set(of.values()))) for name, of in self.classes_of.items()}


def load(database: duckdb.DuckDBPyConnection, source: pathlib.Path) -> Statements:
    """Reads the table; its first column, which has no name, holds the codes.

    Raises:
        UserError: the table is not there, or another one.
    """
    path = source / FILE
    code, *_ = table.column_names(path)
    columns = (code, "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")
    table.view(database, "statement", path, columns)
    classes_of: dict[str, dict[str, str]] = {name: {} for name in SETS}
    for row in database.execute("SELECT * FROM statement").fetchall():
        name, diagnostic, form, rhythm, superclass, subclass = ((v or "").strip() for v in row)
        if value.yes(diagnostic) == 1:
            classes_of["diagnostic"][name] = name
            classes_of["superdiagnostic"] |= {name: superclass} if superclass else {}
            classes_of["subdiagnostic"] |= {name: subclass} if subclass else {}
        if value.yes(form) == 1:
            classes_of["form"][name] = name
        if value.yes(rhythm) == 1:
            classes_of["rhythm"][name] = name
    return Statements(classes_of)
