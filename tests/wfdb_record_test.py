"""Records come out exactly as wfdb reads them, or are refused with the reason."""

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
from clef_jax.wfdb import record as wfdb_record

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
    "too few lines": (lambda p: edit(p, "r 12", "r 13"), "unreadable", ("first line", "r.hea")),
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
