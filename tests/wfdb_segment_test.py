"""The header of a WFDB record of several segments is read, or refused with the reason."""

import pytest
from culprits import refuses
from mimic_tree import ecg, write_record

from clef_jax.finding import Defect
from clef_jax.wfdb import segment


def write_header(folder, *lines):
    path = folder / "r"
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    return path


def test_an_ordinary_header_lists_no_segments(tmp_path):
    write_record(tmp_path / "r", ecg(1, 700, 1), leads=("I",))
    assert segment.read_names(tmp_path / "r.hea") == ()


def test_names_are_listed_with_gaps_and_without_comments(tmp_path):
    write_header(tmp_path, "# first", "r/3 1 500 900", "a 300", "# second", "~ 300", "b 300", "c 9")
    assert segment.read_names(tmp_path / "r.hea") == ("a", "~", "b")


@pytest.mark.parametrize("name", ["../a", "/a", ".", "..", "a\0"])
def test_a_segment_in_another_folder_is_refused(name, tmp_path):
    write_header(tmp_path, "r/1 1 500 300", f"{name} 300")
    with refuses(error=Defect, problem="path_outside_source"):
        segment.read_names(tmp_path / "r.hea")


def test_a_missing_header_is_refused(tmp_path):
    with refuses("r.hea", error=Defect, problem="missing_file"):
        segment.read_names(tmp_path / "r.hea")


def test_rate_and_length_are_the_record_s_and_signals_those_of_the_first_segment(tmp_path):
    write_record(tmp_path / "a", ecg(1, 700, 2), leads=("II", "V"))
    path = write_header(tmp_path, "r/3 2 500 1500", "~ 100", "a 700", "a 700")
    header = segment.read_header(path, segment.read_names(tmp_path / "r.hea"))
    assert (header.sample_rate_hz, header.num_samples) == (500, 1500)
    assert [signal.lead for signal in header.signals] == ["II", "V"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("r/1 1 500 300", "~ 300"), "empty"),
        (("r/1 1 500 300", "nowhere 300"), "missing_file"),
        (("r/1 2 500", "a 700"), "unreadable"),
    ],
)
def test_a_record_without_samples_signals_or_length_is_refused(lines, problem, tmp_path):
    write_record(tmp_path / "a", ecg(1, 700, 2), leads=("II", "V"))
    path = write_header(tmp_path, *lines)
    with refuses(error=Defect, problem=problem):
        segment.read_header(path, segment.read_names(tmp_path / "r.hea"))
