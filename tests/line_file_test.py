"""Tests that a file of lines holds complete lines only."""

import shutil

import pytest
from culprits import refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above

from clef_jax.line_file import LineFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.txt"


def test_lines_are_appended_at_once_and_a_cut_line_is_ended(path):
    path.write_text("one\ntw")
    lines = LineFile(path)
    lines.append("three")
    assert path.read_text() == "one\ntw\nthree\n"
    lines.append("vier µ")
    lines.close()
    assert path.read_bytes().endswith("\nvier µ\n".encode())


@pytest.mark.faults
def test_a_line_that_does_not_fit_leaves_those_before_it(path, fault_log):
    lines = LineFile(path, "Start again.")
    lines.append("x" * 60)
    at_first = user_bytes(path.parent)
    with no_file_above(100), refuses(path, "Start again", problem="not_written"):
        lines.append("y" * 60)
    assert path.read_text() == "x" * 60 + "\n"
    lines.append("z")
    lines.close()
    assert path.read_text() == "x" * 60 + "\nz\n"
    fault_log(lost_bytes=lost_bytes(at_first, path.parent))


def test_a_folder_that_vanished_is_named(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    shutil.rmtree(folder)
    with refuses(folder, problem="not_written"):
        LineFile(folder / "lines.txt")
