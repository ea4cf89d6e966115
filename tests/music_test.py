"""Tests variants of the table of MUSIC, and which windows of a Holter are stored."""

import numpy as np
import prepared
import pytest
from clef_datasets.music import column, subject, window
from culprits import assert_names, refuses

from clef_jax.building.listing import Entry
from clef_jax.finding import Defect, Finding, Findings
from clef_jax.leads import FRANK
from clef_jax.simulation import fixture, simulated_ecg

HEAD = "Patient ID;Cause of death;Age"


def load(tmp_path, text, **encoding):
    path = tmp_path / "subject-info.csv"
    path.write_text(text, **({"newline": ""} | encoding))
    findings = Findings()
    subjects, absent = subject.load(path, findings)
    return subjects, absent, [(f.record_id, f.problem, f.action) for f in findings]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("0", "survivor"),
        ("1", "non_cardiac_death"),
        ("3", "sudden_cardiac_death"),
        ("6", "pump_failure_death"),
        ("7", "pump_failure_death"),
        ("3.0", "sudden_cardiac_death"),
        ("3,0", "sudden_cardiac_death"),
        ("'3'", "sudden_cardiac_death"),
        ("2", ""),
        ("3,5", ""),
        ("-1", ""),
        ("NA", ""),
        ("", ""),
    ],
)
def test_the_outcome_of_each_code(code, outcome, tmp_path):
    (item,), _, _ = load(tmp_path, f"{HEAD}\nP0001;{code};60\n")
    assert item.outcome == outcome


def test_every_column_becomes_its_label(tmp_path):
    names = {number.column: number.label.name for number in column.NUMBERS}
    head = ";".join(["patient  id", *(f" {name.upper()}  " for name in names)])
    (item,), absent, _ = load(tmp_path, f"{head}\nP0001;1;2;3;4;50;60;70;1;8\n")
    values = [1, 2, 3, 4, 50, 60, 70, 1, 8]
    assert item.numbers == dict(zip(names.values(), map(float, values), strict=True))
    assert absent == column.OPTIONAL[:8]


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("age_years", "64", 64),
        ("age_years", ">89", 90),
        ("age_years", "> 89", 90),
        ("age_years", "640", np.nan),
        ("male", "1", 1),
        ("male", "0.0", 0),
        ("male", "F", 0),
        ("male", "9", np.nan),
        ("diabetes", "1,0", 1),
        ("diabetes", "no", 0),
        ("diabetes", "", np.nan),
        ("sbp_mmhg", "118,5", 118.5),
        ("sbp_mmhg", "0", np.nan),
        ("sbp_mmhg", "49", np.nan),
        ("total_cholesterol_mmol_l", "4,75", 4.75),
        ("total_cholesterol_mmol_l", "213", np.nan),  # in mg/dL
        ("hdl_mmol_l", "NA", np.nan),
        ("hdl_mmol_l", "50", np.nan),
    ],
)
def test_values_of_every_data_set(name, text, want, tmp_path):
    columns = {
        "age_years": "Age",
        "male": "Gender (male=1)",
        "diabetes": "Diabetes (yes=1)",
        "sbp_mmhg": "Systolic blood  pressure (mmHg)",
        "total_cholesterol_mmol_l": "Total Cholesterol (mmol/L)",
        "hdl_mmol_l": "HDL (mmol/L)",
    }
    (item,), _, _ = load(tmp_path, f"Patient ID;{columns[name]}\nP0001;{text}\n")
    np.testing.assert_equal(getattr(item.observed, name), float(want))
    measured = name in ("sbp_mmhg", "total_cholesterol_mmol_l", "hdl_mmol_l")
    is_implausible = measured and text.isdigit() and np.isnan(want)
    assert item.implausible == ((name,) if is_implausible else ())


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{HEAD}\r\n\r\nP0001;3;60\r\n;;\r\nP0002;0;50\r\n",
        "Patient ID,Cause of death,Age\nP0001,3,60\nP0002,0,50",
        '"Patient ID";"Cause of death";"Age"\n"P0001";"3";"60"\n"P0002";"0";"50"\n',
        "Age;Comment;Cause of death;Patient ID\n60;'a';3;p0001\n50;\"b;c\";0;2.0\n",
        f"{HEAD};;\nP0001;3;60;;\nP0002;0;50;;\n",
        f"{HEAD};Age\nP0001;3;60;1\nP0002;0;50;2\n",
    ],
)
def test_forms_of_the_table(text, tmp_path):
    subjects, _, findings = load(tmp_path, text)
    assert [item.subject_id for item in subjects] == ["P0001", "P0002"]
    assert [item.outcome for item in subjects] == ["sudden_cardiac_death", "survivor"]
    assert [item.observed.age_years for item in subjects] == [60, 50]
    assert findings == []


def test_a_table_in_another_encoding(tmp_path):
    text = f"Creatinine (\xb5mol/L);{HEAD}\n1;P0001;3;60\n"
    (item,), _, _ = load(tmp_path, text, encoding="cp1252")
    assert item.observed.age_years == 60


def test_bad_rows_are_named_and_the_others_survive(tmp_path):
    rows = [
        "P0001;3;60",
        ";3;60",
        "P0002;3;60;7",
        "P0001;0;50",
        'P0003;"3;60',
        "P0004;0;60",
        "P0005",
    ]
    subjects, _, findings = load(tmp_path, "\n".join([HEAD, *rows]))
    assert {item.subject_id: item.outcome for item in subjects} == {
        "P0001": "sudden_cardiac_death",
        "P0003": "",
        "P0004": "survivor",
        "P0005": "",
    }
    assert findings == [
        ("subject-info.csv row 3", "bad_row", "quarantined"),
        ("P0002", "bad_row", "quarantined"),
        ("P0001", "duplicate_record", "quarantined"),
        ("P0003", "short_row", "kept"),
        ("P0005", "short_row", "kept"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "Name;Age\nP0001;3\n", "x" * 200_000])
def test_another_table_is_refused(text, tmp_path):
    with refuses("subject-info.csv") as caught:
        load(tmp_path, text)
    assert caught.value.problem in ("missing_column", "unreadable_table")


GAIN = 400


def heart(num_windows):
    signal_mv = simulated_ecg.make(1, FRANK, sample_rate_hz=200, num_samples=2000 * num_windows)
    return fixture.quantise(signal_mv, GAIN)


def write(source, adc, *, name="P0001", leads=FRANK, rate=200, gain=f"{GAIN}(0)/mV"):
    fixture.write_wfdb(
        source / "Holter_ECG" / name, adc, leads=leads, sample_rate_hz=rate, gain=gain
    )


def find_windows(source, max_windows=1):
    entry = Entry(record_id="Holter_ECG/P0001", patient_id="P0001", labels={"outcome": "survivor"})
    every = list(window.windows(source, entry, max_windows))
    kept = [item for item in every if isinstance(item, Entry)]
    assert all(item.labels == entry.labels and item.num_samples == 2000 for item in kept)
    findings = [item for item in every if isinstance(item, Finding)]
    return [item.start_sample for item in kept], {f.problem: f.detail for f in findings}


def test_the_first_clean_windows_are_taken(tmp_path):
    adc = heart(6)
    adc[0, :2000] = 5
    adc[2, 4500] = 32767
    write(tmp_path, adc)
    assert find_windows(tmp_path) == (
        [2000],
        {
            "windows_passed_over": "Windows of 10 s that were skipped because a lead is not clean: "
            "1."
        },
    )
    starts, findings = find_windows(tmp_path, max_windows=2)
    assert starts == [2000, 6000]
    assert_names(findings["windows_passed_over"], "2")
    assert find_windows(tmp_path, max_windows=99)[0] == [2000, 6000, 8000, 10_000]


def test_what_is_left_behind_the_last_whole_window_is_not_looked_at(tmp_path):
    adc = heart(2)[:, :3999]
    adc[:, :2000] = 0
    write(tmp_path, adc)
    with refuses("1 window", "10 s", error=Defect, problem="no_clean_window"):
        find_windows(tmp_path)


def test_without_a_clean_window_lead_x_decides(tmp_path):
    adc = heart(4)
    adc[1] = 0
    adc[0, :4000] = -32768
    write(tmp_path, adc)
    starts, findings = find_windows(tmp_path, max_windows=3)
    assert starts == [4000]
    assert set(findings) == {"windows_passed_over", "no_clean_window"}
    adc[0] = 0
    write(tmp_path, adc)
    with refuses(error=Defect, problem="no_clean_window"):
        find_windows(tmp_path)


@pytest.mark.parametrize(
    ("leads", "problem"),
    [
        (("X", "Y"), None),
        (("z", "x"), None),
        (("X",), None),
        (("Y", "Z"), "missing_lead"),
        (("X", "ECG2"), "unknown_lead"),
        (("X", "X"), "duplicate_lead"),
    ],
)
def test_holters_of_fewer_leads(leads, problem, tmp_path):
    write(tmp_path, heart(2)[: len(leads)], leads=leads)
    if problem is None:
        assert find_windows(tmp_path) == ([0], {})
        return
    with refuses(error=Defect, problem=problem):
        find_windows(tmp_path)


FAULTS = {
    "rate": (lambda s: write(s, heart(2), rate=1000), "wrong_rate", ("1000 Hz", "200 Hz")),
    "short": (lambda s: write(s, heart(1)[:, :1999]), "too_short", ("1999", "200 Hz")),
    "units": (lambda s: write(s, heart(1), gain="400(0)/V"), "wrong_units", ("400/V",)),
    "no header": (lambda s: None, "missing_file", ("P0001.hea",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(name, tmp_path):
    spoil, problem, culprits = FAULTS[name]
    spoil(tmp_path)
    with refuses(*culprits, error=Defect, problem=problem):
        find_windows(tmp_path)


def lengthen(source, hours):
    """Writes a Holter as long as real ones, whose rest is a hole in the file."""
    stem = source / "Holter_ECG" / "P0001"
    num_samples = hours * 3600 * 200
    with stem.with_suffix(".dat").open("r+b") as stream:
        stream.truncate(6 * num_samples)
    header = stem.with_suffix(".hea")
    first, _, rest = header.read_text().partition("\n")
    header.write_text(f"{first.rpartition(' ')[0]} {num_samples}\n{rest}")


@pytest.mark.parametrize(("clean_minute", "num_blocks"), [(0, 1), (7, 2), (59, 12)])
def test_of_a_day_only_the_beginning_is_read(clean_minute, num_blocks, tmp_path, monkeypatch):
    adc = np.zeros((3, 12_000 * clean_minute + 2000), np.int16)
    adc[:, -2000:] = heart(1)
    write(tmp_path, adc)
    lengthen(tmp_path, hours=24)
    reads = []
    usual = window.wfdb_record.read

    def read(path, start_sample, num_samples, **header):
        reads.append((start_sample, num_samples))
        return usual(path, start_sample, num_samples, **header)

    monkeypatch.setattr(window.wfdb_record, "read", read)
    assert find_windows(tmp_path)[0] == [12_000 * clean_minute]
    assert reads == [(60_000 * number, 60_000) for number in range(num_blocks)]


def test_after_an_hour_the_search_ends(tmp_path):
    adc = np.zeros((3, 12_000 * 60 + 2000), np.int16)
    adc[:, -2000:] = heart(1)
    write(tmp_path, adc)
    lengthen(tmp_path, hours=24)
    with refuses("360 windows", error=Defect, problem="no_clean_window"):
        find_windows(tmp_path)


def build(source, data_dir, **options):
    made = prepared.build("music", source, data_dir, **options)
    return made, list(prepared.examples(made).values()), prepared.findings(made)


def test_subjects_and_holters_find_each_other(tmp_path):
    source = tmp_path / "source"
    write(source, heart(2))
    write(source, heart(2), name="p0002")
    write(source, heart(2), name="P0009")
    rows = ["P0001;1;0", "P0002;;3", "P0003;0;0", "P0004;1;0", "P0005;;0"]
    text = "\n".join(["Patient ID;Holter available;Cause of death", *rows])
    (source / "subject-info.csv").write_text(text)
    made, stored, findings = build(source, tmp_path / "data")
    assert {e["record_id"] for e in stored} == {b"Holter_ECG/P0001@0", b"Holter_ECG/p0002@0"}
    assert {e["patient_id"] for e in stored} == {b"P0001", b"P0002"}
    assert {(f["record_id"], f["problem"], f["action"]) for f in findings} == {
        ("Holter_ECG/P0003", "no_holter", "kept"),
        ("Holter_ECG/P0004", "missing_file", "quarantined"),
        ("Holter_ECG/P0005", "no_holter", "kept"),
        ("Holter_ECG/P0009", "unknown_patient", "quarantined"),
    }
    assert made.summary is not None
    assert made.summary.coverage["subjects without a Holter"] == "3 of 5"
    lacking = made.summary.coverage["columns that subject-info.csv lacks"]
    assert "Age" in lacking
    assert "Cause of death" not in lacking


def test_without_causes_of_death_nothing_is_said_of_each_subject(tmp_path):
    source = tmp_path / "source"
    write(source, heart(2))
    (source / "subject-info.csv").write_text("Patient ID\nP0001\n")
    _, (stored,), findings = build(source, tmp_path / "data")
    assert stored["outcome"] == b""
    assert findings == []


def test_the_table_may_lie_elsewhere(tmp_path):
    source, other = tmp_path / "source", tmp_path / "tables"
    write(source, heart(2))
    other.mkdir()
    (other / "subject-info.csv").write_text(f"{HEAD}\nP0001;6;60\n")
    for place in (other, other / "subject-info.csv"):
        _, (stored,), _ = build(source, tmp_path / place.name, label_source=str(place))
        assert stored["outcome"] == b"pump_failure_death"
    with refuses(tmp_path / "nowhere", problem="missing_file"):
        build(source, tmp_path / "data", label_source=str(tmp_path / "nowhere"))


def test_the_holters_must_be_there(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "subject-info.csv").write_text(f"{HEAD}\nP0001;6;60\n")
    with refuses(source, "Holter_ECG", problem="missing_folder"):
        build(source, tmp_path / "data")
