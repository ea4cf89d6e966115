"""Reads the classes of diagnostic statements in each set of labels from scp_statements.csv."""

import dataclasses
import pathlib

import duckdb

from clef_jax.building import table, value

FILE = "scp_statements.csv"
SETS = ("diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")


@dataclasses.dataclass(frozen=True)
class Statements:
    """Classes of SCP-ECG codes."""

    classes_by_set: dict[str, dict[str, str]]
    """For each set of labels, the class of each code that belongs to it."""

    def labels(self, codes: list[str]) -> dict[str, list[str]]:
        """Returns the classes of some codes in each set, sorted."""
        return {
            name: sorted({by_code[code] for code in codes if code in by_code})
            for name, by_code in self.classes_by_set.items()
        }

    def unknown(self, codes: list[str]) -> list[str]:
        """Returns the codes that belong to no set."""
        known = set().union(*self.classes_by_set.values())
        return [code for code in codes if code not in known]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """All classes of each set, in alphabetical order."""
        return {name: tuple(sorted(set(c.values()))) for name, c in self.classes_by_set.items()}


def load(database: duckdb.DuckDBPyConnection, source: pathlib.Path) -> Statements:
    """Reads the table, whose first, unnamed column holds the codes.

    Raises:
        UserError: the table does not exist, or lacks a required column.
    """
    path = source / FILE
    code, *_ = table.column_names(path)
    columns = (code, "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")
    table.create_view(database, "statement", path, columns)
    classes_by_set: dict[str, dict[str, str]] = {name: {} for name in SETS}
    for row in database.execute("SELECT * FROM statement").fetchall():
        name, diagnostic, form, rhythm, superclass, subclass = ((v or "").strip() for v in row)
        if value.yes(diagnostic) == 1:
            classes_by_set["diagnostic"][name] = name
            classes_by_set["superdiagnostic"] |= {name: superclass} if superclass else {}
            classes_by_set["subdiagnostic"] |= {name: subclass} if subclass else {}
        if value.yes(form) == 1:
            classes_by_set["form"][name] = name
        if value.yes(rhythm) == 1:
            classes_by_set["rhythm"][name] = name
    return Statements(classes_by_set)
