"""Tests that headers are read in all dialects that archives use, or rejected with the reason."""

import os

import pytest
from culprits import refuses

from clef_jax.finding import Defect
from clef_jax.wfdb import header as wfdb_header


def read(folder, *lines, encoding="utf-8", end="\n"):
    (folder / "r.hea").write_bytes(end.join([*lines, ""]).encode(encoding))
    return wfdb_header.read(folder / "r")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_a_micro_sign_is_read_in_any_encoding(encoding, tmp_path):
    header = read(tmp_path, "r 1 250 9", "r.dat 16 1/µV 16 0 0 0 0 II", encoding=encoding)
    assert header.signals[0].units == "µV"
    assert header.signals[0].gain == 1


@pytest.mark.parametrize(
    ("line", "gain", "baseline", "checksum", "lead"),
    [
        ("r.dat 16", 0, 0, None, ""),
        ("r.dat 16 200", 200, 0, None, ""),
        ("r.dat 16 -200/mV 12 5", -200, 5, None, ""),
        ("r.dat 16 200(3)/mV 12 5", 200, 3, None, ""),
        ("r.dat 16 1000.0(0)/mV 16 0    I", 1000, 0, None, "I"),
        ("r.dat 16 1000/mV aVR", 1000, 0, None, "aVR"),
        ("r.dat 16 1000/mV 16 0 -7 V1", 1000, 0, None, "V1"),
        ("r.dat 16 1000/mV 16 0 -7 -9 V1", 1000, 0, -9, "V1"),
        ("r.dat 16 1000/mV 16 0 -7 -9 0 12 lead", 1000, 0, -9, "12 lead"),
        ("r.dat 16 1000/mV 16 0 -7 -9 0 II,", 1000, 0, -9, "II"),
        ("r.dat 16x4:2+24 2e2/mV 16 0 0 0 0 ECG 1 ", 200, 0, 0, "ECG 1"),
    ],
)
def test_fields_may_be_left_out(line, gain, baseline, checksum, lead, tmp_path):
    (signal,) = read(tmp_path, "r 1 250 9", line).signals
    assert (signal.gain, signal.baseline) == (gain, baseline)
    assert (signal.checksum, signal.lead, signal.units) == (checksum, lead, "mV")


def test_fewer_signal_lines_than_stated_are_counted(tmp_path):
    with refuses("r.hea", "3 signals", "2.", error=Defect, problem="unreadable"):
        read(tmp_path, "r 3 250 9", "r.dat 16", "r.dat 16", "# I am a comment")
    with refuses("r.hea", "1 signal", "0.", error=Defect, problem="unreadable"):
        read(tmp_path, "r 1 250 9")
    assert len(read(tmp_path, "r 1 250 9", "r.dat 16", "surplus").signals) == 1


def test_rate_and_length_count_all_samples_of_a_frame(tmp_path):
    lines = ["r 2 62.5 10", "r.dat 16x4 200/mV", "r.dat 16x4 200/mV"]
    header = read(tmp_path, *lines, end="\r\n")
    assert (header.frame_rate_hz, header.num_frames) == (62.5, 10)
    assert (header.sample_rate_hz, header.num_samples) == (250, 40)
    assert read(tmp_path, "r 1 62.5", lines[1]).num_samples is None


def test_signals_of_several_rates_have_no_common_rate(tmp_path):
    header = read(tmp_path, "r 2 62.5 10", "r.dat 16x4 200/mV", "r.dat 16 200/mV")
    for name in ("sample_rate_hz", "num_samples"):
        with refuses("62.5 Hz", "250 Hz", error=Defect, problem="mixed_rates"):
            getattr(header, name)


def test_a_record_without_signals_is_reported_as_such(tmp_path):
    with refuses("r.hea", "without signals", error=Defect, problem="empty"):
        read(tmp_path, "r 0 250 9")


@pytest.mark.parametrize(
    "line", ["r.dat 16 200(9999999999)/mV", "r.dat 16 1e999/mV", "r.dat 16 -/mV", "r.dat 16.5 200"]
)
def test_numbers_that_cannot_be_are_refused(line, tmp_path):
    with refuses("r.hea", error=Defect, problem="unreadable"):
        read(tmp_path, "r 1 250 9", line)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "r.hea")
    with refuses("r.hea", error=Defect, problem="not_a_file"):
        wfdb_header.read(tmp_path / "r")


def test_the_header_of_a_signal_file_is_found(tmp_path):
    read(tmp_path, "r 1 250 9", "other.dat 16 200/mV")
    assert wfdb_header.of_signal_file(tmp_path / "other.dat") == tmp_path / "r.hea"
    assert wfdb_header.of_signal_file(tmp_path / "r.dat") is None
    assert wfdb_header.of_signal_file(tmp_path / "nowhere" / "r.dat") is None
    (tmp_path / "other.hea").write_text("other 1 250 9\nother.dat 16 200/mV\n")
    assert wfdb_header.of_signal_file(tmp_path / "other.dat") == tmp_path / "other.hea"
