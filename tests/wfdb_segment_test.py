"""Tests that headers of several segments are read, or rejected with the reason."""

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


def test_a_record_without_segments_is_its_only_one(tmp_path):
    write_record(tmp_path / "r", ecg(1, 700, 1), leads=("I",))
    record = segment.read(tmp_path / "r")
    assert not record.is_segmented
    assert [(s.path, s.num_frames) for s in record.segments] == [(tmp_path / "r", 700)]


def test_rate_and_length_are_the_record_s_and_signals_those_of_the_first_segment(tmp_path):
    write_record(tmp_path / "a", ecg(1, 700, 2), leads=("II", "V"))
    record = segment.read(write_header(tmp_path, "r/3 2 500 1500", "~ 100", "a 700", "a 700"))
    assert (record.header.sample_rate_hz, record.header.num_samples) == (500, 1500)
    assert [signal.lead for signal in record.header.signals] == ["II", "V"]
    assert [(s.start_frame, s.num_frames) for s in record.segments] == [(100, 700), (800, 700)]
    assert (record.defects, record.is_variable) == ((), False)


def test_signals_of_a_variable_layout_are_found_by_name(tmp_path):
    layout = ["l 2 500 0", "~ 0 200/mV 16 0 0 0 0 II", "~ 0 200/mV 16 0 0 0 0 V"]
    (tmp_path / "l.hea").write_text("\n".join(layout) + "\n")
    write_record(tmp_path / "a", ecg(1, 700, 3), leads=("V", "I", "II"))
    write_record(tmp_path / "b", ecg(1, 700, 1), leads=("V",))
    record = segment.read(write_header(tmp_path, "r/3 2 500 1400", "l 0", "a 700", "b 700"))
    assert record.is_variable
    found = [[segment.find_row(record, s, row) for row in (0, 1)] for s in record.segments]
    assert found == [[2, 0], [None, 0]]


def test_signals_without_names_are_found_by_position(tmp_path):
    write_record(tmp_path / "a", ecg(1, 700, 2), leads=("", ""))
    record = segment.read(write_header(tmp_path, "r/2 2 500 1400", "a 700", "a 700"))
    assert [segment.find_row(record, record.segments[1], row) for row in (0, 1)] == [0, 1]


def test_segments_that_cannot_be_read_are_gaps(tmp_path):
    for name, rate in (("a", 500), ("b", 500), ("c", 250), ("d", 500)):
        write_record(tmp_path / name, ecg(1, 700, 1), leads=("II",), rate=rate)
    (tmp_path / "a.dat").unlink()
    (tmp_path / "b.dat").write_bytes(bytes(10))
    lines = ["a 700", "b 700", "c 700", "d 900", "nowhere 9", "d 300"]
    record = segment.read(write_header(tmp_path, "r/6 1 500 9999", *lines))
    assert [(s.start_frame, s.num_frames) for s in record.segments] == [(2100, 700), (3009, 300)]
    problems = [defect.problem for defect in record.defects]
    want = ["missing_file", "truncated", "wrong_rate", "header_mismatch", "missing_file"]
    assert problems == [*want, "header_mismatch", "header_mismatch"]
    assert "a.dat" in record.defects[0].detail
    assert record.header.num_frames == 3309


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("r/1 1 500 300", "~ 300"), "empty"),
        (("r/1 1 500 300", "nowhere 300"), "missing_file"),
        (("r/1 2 500", "a 700"), "unreadable"),
        (("r/2 2 500 1400", "a 700"), "unreadable"),
        (("r/1 2 500 700", "a"), "unreadable"),
    ],
)
def test_a_record_without_samples_signals_or_length_is_refused(lines, problem, tmp_path):
    write_record(tmp_path / "a", ecg(1, 700, 2), leads=("II", "V"))
    with refuses(error=Defect, problem=problem):
        segment.read(write_header(tmp_path, *lines))
