"""Tests Aurora-BP: time and scale of text files, label rules, and incomplete tables."""

import importlib

import numpy as np
import prepared
import pytest
from culprits import refuses
from prepared import examples, findings, problems

from clef_jax.building.listing import Entry
from clef_jax.finding import Defect
from clef_jax.simulation.fixture import Fixture

simulated = importlib.import_module("clef_datasets.aurora_bp.simulated")
study = importlib.import_module("clef_datasets.aurora_bp.study")
waveform = importlib.import_module("clef_datasets.aurora_bp.waveform")


def build(source, data_dir, config="auscultatory", **options):
    return prepared.build(f"aurora_bp/{config}", source, data_dir, **options)


@pytest.fixture
def tree(tmp_path):
    return simulated.Tree(Fixture(source=tmp_path / "source"))


def read(folder, text, **encoding):
    (folder / "one.tsv").write_text(text, newline="", **encoding)
    return waveform.read(folder, Entry(record_id="one", patient_id="a"))


def as_mv(recording):
    signal = recording.signal[0].astype(float)
    signal[signal == -32768] = np.nan
    return (signal - recording.baseline[0]) / recording.gain_per_mv[0]


def lines(times, cells, header="t\tekg\n"):
    return header + "".join(f"{time}\t{cell}\n" for time, cell in zip(times, cells, strict=True))


@pytest.mark.parametrize(
    ("low", "high", "gain"),
    [(6.3, 7.4, 8192), (-181, -179.9, 8192), (-10, 10, 2048), (0, 500, 128), (1e5, 1e5 + 1, 8192)],
)
def test_the_scale_is_as_fine_as_the_range_allows(tmp_path, low, high, gain):
    ecg_mv = np.linspace(low, high, 2000)
    recording = read(tmp_path, lines(np.arange(2000) / 500, ecg_mv))
    assert recording.gain_per_mv[0] == gain
    np.testing.assert_allclose(as_mv(recording), ecg_mv, rtol=0, atol=1 / gain)
    assert abs(recording.signal.astype(int)).max() < 32767


def test_times_with_five_digits_lose_no_sample(tmp_path):
    for start_s in (1.1369e-13, 9.5, 150.0):
        times = [f"{start_s + place / 500:.5g}" for place in range(3000)]
        recording = read(tmp_path, lines(times, np.arange(3000) / 1000))
        np.testing.assert_allclose(as_mv(recording), np.arange(3000) / 1000, atol=1e-4)


def test_missing_rows_and_cells_are_gaps_of_their_length(tmp_path):
    times, ecg_mv = np.arange(2000) / 500, np.sin(np.arange(2000) / 20)
    keep = np.ones(2000, bool)
    keep[[500, *range(700, 900)]] = False
    cells = [f"{voltage:.5g}" for voltage in ecg_mv]
    cells[100:103] = ["", "NaN", "inf"]
    text = lines(times[keep], [cell for cell, kept in zip(cells, keep, strict=True) if kept])
    stored = as_mv(read(tmp_path, text))
    assert len(stored) == 2000
    np.testing.assert_array_equal(
        np.flatnonzero(np.isnan(stored)), [100, 101, 102, 500, *range(700, 900)]
    )
    known = ~np.isnan(stored)
    np.testing.assert_allclose(stored[known], ecg_mv[known], atol=2e-4)


def test_text_of_other_tools(tmp_path):
    times, ecg_mv = np.arange(2000) / 500, np.arange(2000) / 1000
    plain = lines(times, ecg_mv)
    quoted = lines(times, [f'"{voltage}"' for voltage in ecg_mv], header='"T"\t"EKG"\n')
    swapped = "optical\tekg\tt\n" + "".join(
        f"1\t{cell}\t{time}\n" for time, cell in zip(times, ecg_mv, strict=True)
    )
    comma = plain.replace(".", ",")
    blank = plain.replace("\n", "\r\n\r\n")
    cut = plain + "4.0"
    for text in (plain, quoted, swapped, comma, blank, cut, "\ufeff" + plain):
        recording = read(tmp_path, text, encoding="utf-8")
        np.testing.assert_allclose(as_mv(recording)[:2000], ecg_mv, atol=2e-4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty_file"),
        ("\n", "empty_file"),
        ("t\tekg\n", "empty_file"),
        ("t\tekg\n0\t1\n", "empty_file"),
        ("time\tekg\n0\t1\n", "missing_column"),
        ("t\toptical\n0\t1\n", "missing_column"),
        ("\x00\x89PNG\x1a\n", "missing_column"),
        (lines(np.arange(2000) / 498.67, np.ones(2000)), ""),
        (lines(np.arange(2000) / 490, np.ones(2000)), "wrong_rate"),
        (lines(np.arange(2000) * 2.0, np.ones(2000)), "wrong_rate"),
        (lines(np.zeros(2000), np.ones(2000)), "wrong_rate"),
        (lines(np.r_[0:1000, 500:1500] / 500, np.ones(2000)), "time_goes_back"),
        (lines(np.r_[0:1000, 9000:10000] / 500, np.ones(2000)), "missing_rows"),
        (lines([*(np.arange(1999) / 500), 1e300], np.ones(2000)), "missing_rows"),
        (lines(np.arange(2000) / 500, ["nan"] * 2000), "no_usable_lead"),
        (lines(np.arange(2000) / 500, np.linspace(0, 1e6, 2000)), "implausible_amplitude"),
        (lines(np.arange(2000) / 500, [-1e308, 1e308] * 1000), "implausible_amplitude"),
    ],
)
def test_files_that_are_no_recordings(tmp_path, text, problem):
    if not problem:
        assert read(tmp_path, text).signal.shape == (1, 2000)
        return
    with pytest.raises(Defect) as caught:
        read(tmp_path, text)
    assert caught.value.problem == problem
    assert caught.value.detail.endswith(".")
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize(
    ("reported", "high", "want"),
    [
        ("norm", "0", 0),
        ("managed", "0", 1),
        ("Unmanaged", "", 1),
        ("norm", "1.0", 1),
        ("", "0", 0),
        ("yes", None, 1),
        ("", "", np.nan),
        (None, "?", np.nan),
    ],
)
def test_hypertension(reported, high, want):
    row = {"self_report_htn": reported, "high_blood_pressure": high}
    np.testing.assert_equal(study.hypertension(row), want)


def test_names_in_files_and_tables_are_the_same_measurement():
    assert study.make_key(" A000 ", "Initial", "Calibration  start_1") == (
        "a000",
        "initial",
        "calibration_start_1",
    )


def test_files_whose_names_are_odd(tree, tmp_path):
    pid = tree.participant()
    good = tree.measure(pid, "initial", "Calibration start 1")
    tree.write_tables()
    folder = (tree.made.source / good).parent
    text = (folder / f"{pid}.initial.Calibration_start_1.tsv").read_bytes()
    names = ("a777.initial.Calibration_start_1", "nonsense", "A000.INITIAL.calibration_start_1")
    for name in (*names, "._a000.initial.Calibration_start_1"):
        (folder / f"{name}.tsv").write_bytes(text)
    (folder / "notes.txt").write_text("x")
    made = build(tree.made.source, tmp_path / "data")
    assert len(examples(made)) == 1
    tree_name = good.rpartition("/")[0]
    lost = {(r, p) for r, p, action in problems(made) if action == "quarantined"}
    assert lost >= {
        (f"{tree_name}/a777.initial.Calibration_start_1", "subject_mismatch"),
        (f"{tree_name}/nonsense", "bad_name"),
    }
    assert {problem for _, problem in lost} == {
        "subject_mismatch",
        "bad_name",
        "duplicate_record",
    }


def test_tables_may_be_absent_and_lack_columns(tree, tmp_path):
    pid = tree.participant()
    record_id = tree.measure(pid, "initial", "Calibration start 1")
    source = tree.made.source
    tree.write_tables()
    (source / "features.tsv").unlink()
    (source / "participants.tsv").write_bytes(
        b"\xef\xbb\xbfPID\tGender\r\n" + pid.encode() + b"\tf\r\n"
    )
    (source / "measurements_auscultatory.tsv").write_text(
        "pid\tphase\tmeasurement\tdate_time\tsbp\tdbp\twaveforms_generated\n"
        f"{pid}\tinitial\tCalibration start 1\t2018-01-01 13:14:20\t110.0\t0.0\t1\n"
    )
    made = build(source, tmp_path / "data")
    stored = examples(made)[record_id]
    assert (stored["male"], stored["sbp_mmhg"]) == (0, 110)
    assert np.isnan([stored["dbp_mmhg"], stored["age_years"], stored["hypertension"]]).all()
    assert stored["recorded_at"] == b"2018-01-01T13:14:20"
    assert {p for _, p, _ in problems(made)} == {"unlabelled", "implausible_value"}
    assert made.summary.coverage["features.tsv"] == "absent"
    assert "age" in made.summary.coverage["columns that participants.tsv lacks"]


def test_a_measurement_without_waveform_is_no_missing_file(tree, tmp_path):
    pid = tree.participant()
    tree.measure(pid, "initial", "Calibration start 1")
    tree.feature(pid, "initial", "Calibration start 3", "2018-01-01 13:17:59", "118.0", "71.0")
    tree.feature(pid, "Synthetic", "Calibration average values", "")
    tree.write_tables()
    (tree.made.source / "measurements_auscultatory.tsv").write_text(
        "pid\tphase\tmeasurement\tsbp\twaveforms_generated\n"
        f"{pid}\tinitial\tCalibration start 3\t118.0\t0\n"
    )
    made = build(tree.made.source, tmp_path / "data")
    assert not findings(made)
    assert made.summary.coverage["rows of features.tsv about no waveform"] == "2"


def test_the_other_protocol(tree, tmp_path):
    pid = tree.participant()
    record_id = tree.measure(pid, "initial", "Calibration start 1")
    tree.write_tables()
    source = tree.made.source
    with refuses(
        "measurements_oscillometric", "--dataset=aurora_bp/auscultatory", problem="missing_folder"
    ):
        build(source, tmp_path / "none", config="oscillometric")
    (source / "measurements_auscultatory").rename(source / "measurements_oscillometric")
    made = build(source, tmp_path / "data", config="oscillometric")
    assert list(examples(made)) == [record_id.replace("auscultatory", "oscillometric")]
    assert not findings(made)


def test_a_linked_file_that_leads_out_is_not_opened(tree, tmp_path):
    pid = tree.participant()
    good = tree.measure(pid, "initial", "Calibration start 1")
    linked = tree.measure(pid, "initial", "Calibration start 2")
    tree.write_tables()
    path = tree.made.source / f"{linked}.tsv"
    path.rename(tmp_path / "elsewhere.tsv")
    path.symlink_to(tmp_path / "elsewhere.tsv")
    made = build(tree.made.source, tmp_path / "data")
    assert list(examples(made)) == [good]
    assert problems(made) == {(linked, "path_outside_source", "quarantined")}
