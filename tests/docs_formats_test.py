"""The page of formats has a row for every format, with its suffixes and what fuzzing gave."""

import pathlib
import re

import pytest

from clef_jax import formats

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "formats.md"
COLUMNS = 8
DAMAGED = 1000


def rows():
    """Returns the cells of each row of the table by its module."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row for row in cells if re.fullmatch(r"`\w+`", row[0])}


def test_every_format_of_the_package_has_a_row_and_every_row_is_a_format():
    folder = pathlib.Path(formats.__file__).parent
    assert set(rows()) == {path.stem for path in folder.glob("[!_]*.py")}


@pytest.mark.parametrize("name", sorted(rows()))
def test_a_row_states_suffixes_extra_and_damaged_files(name):
    row, file_format = rows()[name], formats.load()[name]
    assert len(row) == COLUMNS
    assert all(row)
    suffixes = {suffix or "none" for suffix in file_format.suffixes}
    assert set(row[2].split(", ")) == suffixes
    assert ("extra `formats`" in row[3]) == (file_format.extra == "formats")
    readings, refusals = map(int, row[7].split(" / "))
    assert readings + refusals == DAMAGED
    assert min(readings, refusals) > 0


@pytest.mark.parametrize("name", sorted(rows()))
def test_the_codes_of_a_row_are_those_of_the_package(name):
    folder = pathlib.Path(formats.__file__).parents[1]
    source = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    codes = re.findall(r"`([a-z]+(?:_[a-z]+)+)`", " ".join(rows()[name][5:6]))
    assert [code for code in codes if f'"{code}"' not in source] == []
