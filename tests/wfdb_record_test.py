"""Tests that records are read exactly as wfdb reads them, or rejected with the reason."""

import os
import struct
import warnings

import numpy as np
import pytest
import scipy.io
from culprits import refuses
from mimic_tree import LEADS, ecg, write_record

from clef_jax import files
from clef_jax.finding import Defect
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas complains about wfdb's own code as it is imported
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # within wfdb.wrsamp


def same_as_wfdb(path):
    ours, theirs = wfdb_record.read(path), wfdb.rdrecord(str(path), physical=False)
    np.testing.assert_array_equal(ours.signal, theirs.d_signal.T)
    np.testing.assert_array_equal(ours.gain_per_mv, np.float32(theirs.adc_gain))
    np.testing.assert_array_equal(ours.baseline, theirs.baseline)
    assert ours.lead_names == tuple(theirs.sig_name)
    assert ours.sample_rate_hz == theirs.fs
    assert ours.signal.dtype == np.int16
    return ours


@pytest.mark.parametrize("form", ["16", "212", "24", "80"])
def test_reads_what_wfdb_writes(form, tmp_path):
    signal = np.random.default_rng(0).normal(0, 0.1, (600, 3))
    signal[10:20, 1] = np.nan
    wfdb.wrsamp(
        "r",
        fs=360,
        units=["mV"] * 3,
        sig_name=["I", "II", "V1"],
        p_signal=signal,
        fmt=[form] * 3,
        adc_gain=[100.0, 200.0, 50.5],
        baseline=[0, 5, -3],
        write_dir=str(tmp_path),
    )
    path = tmp_path / "r"
    ours = wfdb_record.read(path)
    assert (ours.signal[1, 10:20] == -32768).all()
    assert (ours.signal[[0, 2]] > -32768).all()
    mv = (ours.signal - ours.baseline[:, None]) / ours.gain_per_mv[:, None]
    known = ~np.isnan(signal.T)
    np.testing.assert_allclose(mv[known], signal.T[known], atol=0.5 / 50)
    if form == "16":
        same_as_wfdb(path)
    assert not ours.bad_checksums


def test_reads_a_signal_after_a_file_header(tmp_path):
    path = tmp_path / "JS1"
    write_record(path, ecg(1), gain="1000/mV")
    header = path.with_suffix(".hea").read_text().replace("JS1.dat 16 ", "JS1.mat 16+24 ")
    path.with_suffix(".hea").write_text(header + "#Age: 85\n")
    data = path.with_suffix(".dat").read_bytes()
    matrix = struct.pack("<5i", 30, 12, 5000, 0, 4) + b"val\0"
    path.with_suffix(".mat").write_bytes(matrix + data)
    np.testing.assert_array_equal(same_as_wfdb(path).signal, ecg(1))
    again = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
    np.testing.assert_array_equal(again, ecg(1))


@pytest.mark.parametrize(
    ("head", "problem", "culprits"),
    [
        ((30, 12, 4999, 0, 4), "header_mismatch", ("12 x 4999", "24")),
        ((30, 11, 5000, 0, 4), "header_mismatch", ("11 x 5000", "12 x 5000")),
        ((30, 12, 5000, 0, 6), "header_mismatch", ("26",)),
        ((0, 12, 5000, 0, 4), "unreadable", ("JS1.mat",)),
    ],
)
def test_a_matrix_of_another_form_is_refused(head, problem, culprits, tmp_path):
    path = tmp_path / "JS1"
    write_record(path, ecg(1))
    header = path.with_suffix(".hea").read_text().replace("JS1.dat 16 ", "JS1.mat 16+24 ")
    path.with_suffix(".hea").write_text(header)
    data = path.with_suffix(".dat").read_bytes()
    path.with_suffix(".mat").write_bytes(struct.pack("<5i", *head) + b"val\0" + data)
    with refuses(*culprits, error=Defect, problem=problem):
        wfdb_record.read(path)


@pytest.mark.parametrize("form", ["16", "212", "80"])
@pytest.mark.parametrize("leads", [1, 2, 3])
def test_windows_are_what_wfdb_reads(form, leads, tmp_path):
    signal = np.random.default_rng(0).normal(0, 1, (601, leads))
    signal[50:60, 0] = np.nan
    wfdb.wrsamp(
        "r",
        fs=360,
        units=["mV"] * leads,
        sig_name=["I", "II", "V1"][:leads],
        p_signal=signal,
        fmt=[form] * leads,
        write_dir=str(tmp_path),
    )
    path = tmp_path / "r"
    for start, count in ((0, 601), (0, 10), (7, 100), (48, 13), (600, 1), (300, None)):
        end = None if count is None else start + count
        want = wfdb.rdrecord(str(path), physical=False, sampfrom=start, sampto=end)
        got = wfdb_record.read(path, start, count).signal.astype(int)
        stored = want.d_signal.T.copy()
        stored[stored == {"16": -(1 << 15), "212": -2048, "80": -128}[form]] = -(1 << 15)
        np.testing.assert_array_equal(got, stored)


@pytest.mark.parametrize(("start", "count"), [(-1, 10), (0, 5001), (4999, 2), (5001, None)])
def test_windows_outside_of_the_record_are_refused(start, count, tmp_path):
    write_record(tmp_path / "r", ecg(1))
    with refuses(error=Defect, problem="window_outside_record"):
        wfdb_record.read(tmp_path / "r", start, count)


def test_gain_and_baseline_of_every_lead(tmp_path):
    path = tmp_path / "r"
    write_record(path, ecg(1), gain="1000.5(-12)/mV")
    assert set(same_as_wfdb(path).baseline) == {-12}


def test_a_header_without_length_takes_it_from_the_file(tmp_path):
    path = tmp_path / "r"
    write_record(path, ecg(1, num_samples=777))
    text = path.with_suffix(".hea").read_text().replace("r 12 500 777", "r 12 500")
    path.with_suffix(".hea").write_text(text)
    assert wfdb_record.read(path).signal.shape == (12, 777)


def test_a_wrong_checksum_is_noticed(tmp_path):
    path = tmp_path / "r"
    write_record(path, ecg(1), checksums=False)
    assert wfdb_record.read(path).bad_checksums == LEADS


def test_headers_whose_checksums_are_all_zero_have_none(tmp_path):
    path = tmp_path / "r"
    write_record(path, ecg(1), checksums=False)
    text = path.with_suffix(".hea").read_text()
    path.with_suffix(".hea").write_text(text.replace(" 7 0 ", " 0 0 "))
    assert wfdb_record.read(path).bad_checksums == ()
    # One checksum that is stated makes the others count.
    path.with_suffix(".hea").write_text(text.replace(" 7 0 ", " 0 0 ", 11))
    assert len(wfdb_record.read(path).bad_checksums) == 12


def test_all_samples_of_a_frame_are_read_at_their_rate(tmp_path):
    samples = np.arange(240, dtype="<i2").reshape(2, 120)
    frames = samples.reshape(2, 30, 4).transpose(1, 0, 2)
    np.ascontiguousarray(frames).tofile(tmp_path / "r.dat")
    lines = [f"r.dat 16x4 200/mV 16 0 0 0 0 {name}" for name in ("I", "II")]
    (tmp_path / "r.hea").write_text("\n".join(["r 2 62.5 30", *lines]) + "\n")
    recording = wfdb_record.read(tmp_path / "r")
    assert recording.sample_rate_hz == 250
    np.testing.assert_array_equal(recording.signal, samples)
    for start, count in ((0, 1), (3, 6), (5, 2), (119, 1), (8, 4)):
        window = wfdb_record.read(tmp_path / "r", start, count)
        np.testing.assert_array_equal(window.signal, samples[:, start : start + count])
    with refuses("120", error=Defect, problem="window_outside_record"):
        wfdb_record.read(tmp_path / "r", 0, 121)


def test_leads_of_several_rates_are_refused(tmp_path):
    np.zeros(50, "<i2").tofile(tmp_path / "r.dat")
    header = "r 2 62.5 10\nr.dat 16x4 200/mV 16 0 0 0 0 I\nr.dat 16 200/mV 16 0 0 0 0 II\n"
    (tmp_path / "r.hea").write_text(header)
    with refuses("250 Hz", "62.5 Hz", error=Defect, problem="mixed_rates"):
        wfdb_record.read(tmp_path / "r")


def test_a_negative_gain_inverts_the_samples(tmp_path):
    adc = ecg(1, num_leads=1)
    adc[0, 5] = -32768
    write_record(tmp_path / "r", adc, leads=("I",), gain="-200.0(7)/mV")
    recording = wfdb_record.read(tmp_path / "r")
    assert (recording.gain_per_mv[0], recording.baseline[0]) == (200, -7)
    assert recording.signal[0, 5] == -32768
    kept = np.arange(5000) != 5
    got = (recording.signal[0].astype(float) - recording.baseline[0]) / recording.gain_per_mv[0]
    np.testing.assert_allclose(got[kept], (adc[0].astype(float)[kept] - 7) / -200)


def test_a_window_of_differences_is_that_part_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(wfdb_record, "_BLOCK_FRAMES", 16)
    steps = np.random.default_rng(0).integers(-100, 100, (90, 2)).astype("i1")
    steps.tofile(tmp_path / "r.dat")
    lines = [f"r.dat 8 200/mV 12 0 {first} 0 0 {name}" for first, name in ((50, "I"), (-9, "II"))]
    (tmp_path / "r.hea").write_text("\n".join(["r 2 250 90", *lines]) + "\n")
    want = np.array([[50], [-9]]) + np.cumsum(steps.T.astype(int), axis=1)
    for start, count in ((0, 90), (1, 5), (16, 10), (50, 40), (89, 1)):
        got = wfdb_record.read(tmp_path / "r", start, count).signal
        np.testing.assert_array_equal(got, want[:, start : start + count])


def test_signals_of_several_files_and_formats_keep_their_order(tmp_path):
    one, two = ecg(1, 600, 1)[0], ecg(2, 600, 1)[0] // 4
    one.astype("<i2").tofile(tmp_path / "z.dat")
    (two + 128).clip(0, 255).astype("u1").tofile(tmp_path / "a.dat")
    header = "r 2 250\nz.dat 16 200/mV 16 0 0 0 0 I\na.dat 80 200/mV 8 0 0 0 0 II\n"
    (tmp_path / "r.hea").write_text(header)
    recording = wfdb_record.read(tmp_path / "r")
    np.testing.assert_array_equal(recording.signal, [one, two.clip(-127, 127)])
    assert recording.lead_names == ("I", "II")


@pytest.mark.parametrize("form", ["24", "61", "160", "310", "311"])
def test_a_header_without_length_takes_it_from_a_file_of_any_format(form, tmp_path):
    size = {"24": 3, "61": 2, "160": 2, "310": 4 / 3, "311": 4 / 3}[form]
    (tmp_path / "r.dat").write_bytes(bytes(round(600 * size)))
    (tmp_path / "r.hea").write_text(f"r 2 250\nr.dat {form} 9/mV\nr.dat {form} 9/mV\n")
    assert wfdb_record.count_samples(tmp_path / "r", wfdb_header.read(tmp_path / "r")) == 300


def test_samples_of_more_than_16_bits_are_refused_as_stored(tmp_path):
    header = "r 1 500 4\nr.dat 32 200/mV 32 0 0 0 0 I\n"
    (tmp_path / "r.hea").write_text(header)
    np.array([0, 1, 2, 1 << 20], "<i4").tofile(tmp_path / "r.dat")
    with refuses("16 bits", error=Defect, problem="unreadable"):
        wfdb_record.read(tmp_path / "r")
    got = wfdb_record.read_samples(tmp_path / "r", wfdb_header.read(tmp_path / "r"), [0], 0, 4)
    np.testing.assert_array_equal(got, [[0, 1, 2, 1 << 20]])


def test_a_pipe_in_place_of_a_signal_file_is_not_opened(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    (tmp_path / "r.dat").unlink()
    os.mkfifo(tmp_path / "r.dat")
    with refuses("r.dat", error=Defect, problem="not_a_file"):
        wfdb_record.read(tmp_path / "r")


def edit(path, old, new):
    text = path.with_suffix(".hea").read_text()
    assert old in text
    path.with_suffix(".hea").write_text(text.replace(old, new))


def cut(path):
    os.truncate(path.with_suffix(".dat"), 60_000)


FAULTS = {
    "missing header": (lambda p: p.with_suffix(".hea").unlink(), "missing_file", ("r.hea",)),
    "missing signal": (lambda p: p.with_suffix(".dat").unlink(), "missing_file", ("r.dat",)),
    "truncated": (cut, "truncated", ("60000", "120000")),
    "garbage": (
        lambda p: p.with_suffix(".hea").write_bytes(os.urandom(99)),
        "unreadable",
        ("r.hea",),
    ),
    "empty": (
        lambda p: p.with_suffix(".hea").write_text(""),
        "unreadable",
        ("first line", "r.hea"),
    ),
    "too few lines": (lambda p: edit(p, "r 12", "r 13"), "unreadable", ("13 signals", "r.hea")),
    "bad line": (
        lambda p: edit(p, "r.dat 16", "r.dat sixteen"),
        "unreadable",
        ("signal line", "r.hea"),
    ),
    "bad gain": (lambda p: edit(p, "200.0(0)", "2.0.0(0)"), "unreadable", ("gain", "r.hea")),
    "bad rate": (lambda p: edit(p, " 500 5000", " 50-0 5000"), "unreadable", ("rate", "r.hea")),
    "null": (lambda p: edit(p, "r.dat 16", "r\0.dat 16"), "path_outside_source", ("signal file",)),
    "microvolts": (lambda p: edit(p, "(0)/mV", "(0)/uV"), "wrong_units", ("200/uV",)),
    "no calibration": (lambda p: edit(p, "200.0(0)", "0(0)"), "wrong_units", ("mV",)),
    "elsewhere": (lambda p: edit(p, "r.dat 16", "../r.dat 16"), "path_outside_source", ("r.dat",)),
    "unknown format": (lambda p: edit(p, "r.dat 16", "r.dat 99"), "unreadable", ("wfdb",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(name, tmp_path):
    spoil, problem, culprits = FAULTS[name]
    path = tmp_path / "r"
    write_record(path, ecg(1))
    spoil(path)
    with refuses(*culprits, error=Defect, problem=problem) as caught:
        wfdb_record.read(path)
    assert caught.value.detail.endswith(".")


@pytest.mark.parametrize("record_id", ["../out/r", "a/../../out/r", "{out}/r", "link/r", "a\0b"])
def test_paths_stay_inside_of_the_source(record_id, tmp_path):
    source, outside = tmp_path / "source", tmp_path / "out"
    write_record(source / "files" / "r", ecg(1))
    write_record(outside / "r", ecg(2))
    (source / "link").symlink_to(outside)
    assert files.locate(source, "files/r") == source / "files" / "r"
    with pytest.raises(Defect) as caught:
        files.locate(source, record_id.format(out=outside))
    assert caught.value.problem == "path_outside_source"


def test_a_linked_signal_file_does_not_leave_the_source(tmp_path):
    source = tmp_path / "source"
    write_record(source / "r", ecg(1))
    (tmp_path / "x.dat").write_bytes((source / "r.dat").read_bytes())
    (source / "r.dat").unlink()
    (source / "r.dat").symlink_to(tmp_path / "x.dat")
    with pytest.raises(Defect):
        files.locate(source, "r")


def test_skewed_signals_are_aligned(tmp_path):
    samples = np.arange(60, dtype="<i2").reshape(30, 2)
    samples.tofile(tmp_path / "r.dat")
    header = "r 2 250 30\nr.dat 16:3 200/mV 16 0 0 0 0 I\nr.dat 16 200/mV 16 0 0 0 0 II\n"
    (tmp_path / "r.hea").write_text(header)
    want = np.stack([np.append(samples[3:, 0], [-32768] * 3), samples[:, 1]])
    for start, count in ((0, 30), (5, 10), (28, 2)):
        got = wfdb_record.read(tmp_path / "r", start, count).signal
        np.testing.assert_array_equal(got, want[:, start : start + count])
