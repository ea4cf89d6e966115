"""Reads the acronyms of diagnoses from ConditionNames_SNOMED-CT.csv."""

import dataclasses
import pathlib
import re

from clef_jax.building import value

from . import text_table

FILE = "ConditionNames_SNOMED-CT.csv"
_NAME = "acronym name"
_CODE = re.compile(r"\d{6,18}")


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Acronyms of SNOMED CT codes."""

    by_code: dict[str, str]
    """Acronym of each code; empty if the table is absent."""
    summary: str
    """Number and source of the acronyms, for the build's summary."""

    def acronyms(self, codes: list[str]) -> list[str]:
        """Returns the unique acronyms of some codes; a code without an acronym stays as it is."""
        return list(dict.fromkeys(self.by_code.get(code, code) for code in codes))

    def unknown(self, codes: list[str]) -> list[str]:
        """Returns the codes without an acronym; none if the table is absent."""
        return [code for code in codes if self.by_code and code not in self.by_code]


def load(source: pathlib.Path) -> Conditions:
    """Reads the table if it exists. The column of codes is the one that holds most codes."""
    files = [file for file in source.iterdir() if file.name.lower() == FILE.lower()]
    if not files:
        return Conditions({}, f"codes only, because {FILE} is absent")
    columns, rows = text_table.read(files[0])
    names = [column for column in columns if " ".join(column.lower().split()) == _NAME]
    num_codes = {
        column: sum(_is_code(row.get(column, "")) for _, row in rows) for column in columns
    }
    code = max(columns, key=num_codes.__getitem__, default="")
    if not names or not num_codes.get(code):
        return Conditions({}, f"codes only, because {FILE} has no acronyms or no codes")
    by_code: dict[str, str] = {}
    for _, row in rows:
        name = row.get(names[0])
        if name and _is_code(row[code]):
            by_code.setdefault(value.integer_text(row[code]), name)
    return Conditions(by_code, f"{len(by_code)} of {FILE}")


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(value.integer_text(text)) is not None
