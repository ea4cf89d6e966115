"""Reads ConditionNames_SNOMED-CT.csv: the acronym of each diagnosis."""

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
    """What the SNOMED CT codes are called."""

    acronym_of: dict[str, str]
    """Empty if the table is not there."""
    summary: str
    """Where they come from, in words."""

    def acronyms(self, codes: list[str]) -> list[str]:
        """The acronyms of a recording's codes, each once; a code without one stands for itself."""
        return list(dict.fromkeys(self.acronym_of.get(code, code) for code in codes))

    def unknown(self, codes: list[str]) -> list[str]:
        """The codes without an acronym; none if there is no table."""
        return [code for code in codes if self.acronym_of and code not in self.acronym_of]


def load(source: pathlib.Path) -> Conditions:
    """Reads the table if there is one. Its column of codes is found by what is in it."""
    files = [file for file in source.iterdir() if file.name.lower() == FILE.lower()]
    if not files:
        return Conditions({}, f"codes only, because there is no {FILE}")
    columns, rows = text_table.read(files[0])
    names = [column for column in columns if " ".join(column.lower().split()) == _NAME]
    num_codes = {
        column: sum(_is_code(row.get(column, "")) for _, row in rows) for column in columns
    }
    code = max(columns, key=num_codes.__getitem__, default="")
    if not names or not num_codes.get(code):
        return Conditions({}, f"codes only, because {FILE} has no acronyms or no codes")
    acronym_of: dict[str, str] = {}
    for _, row in rows:
        name = row.get(names[0])
        if name and _is_code(row[code]):
            acronym_of.setdefault(value.integer_text(row[code]), name)
    return Conditions(acronym_of, f"{len(acronym_of)} of {FILE}")


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(value.integer_text(text)) is not None
