"""Tests MC-MED: label rules, splits, windows, and tables that differ from the published ones."""

import importlib
import pathlib

import numpy as np
import prepared
import pytest
from culprits import refuses
from prepared import examples, findings, problems

from clef_jax.simulation.fixture import Fixture

disposition = importlib.import_module("clef_datasets.mc_med.disposition")
simulated = importlib.import_module("clef_datasets.mc_med.simulated")
visit = importlib.import_module("clef_datasets.mc_med.visit")


def build(source, data_dir, config="patient_disjoint", **options):
    return prepared.build(f"mc_med/{config}", source, data_dir, **options)


def split_of(made):
    return {
        e["record_id"].decode(): split
        for split in made.info.splits
        for e in made.as_data_source(split)
    }


@pytest.fixture
def tree(tmp_path):
    return simulated.Tree(Fixture(source=tmp_path / "source"))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Home/Work (includes foster care)", "home"),
        ("HOME HEALTH CARE SVC", "home"),
        ("Hospice - Home", "home"),
        ("Left Against Medical Advice", "home"),
        ("Skilled Nursing Facility", "care_facility"),
        ("Residential Facility", "care_facility"),
        ("Custodial Care", "care_facility"),
        ("Short Term Acute Care Hospital", "hospital_transfer"),
        ("Long Term Care Hospital", "hospital_transfer"),
        ("Federal Hospital", "hospital_transfer"),
        ("Cancer Ctr or Children's Hospital", "hospital_transfer"),
        ("Children\u2019s Hospital", "hospital_transfer"),
        ("Critical Access Hospital", "hospital_transfer"),
        ("Acute Care Hospital - Planned Inpatient Readmission", "hospital_transfer"),
        ("Expired", "death_or_hospice"),
        ("Hospice - Medical Facility", "death_or_hospice"),
        ("Organ Donor", "death_or_hospice"),
        ("Psychiatric Hospital", "psychiatric_or_rehabilitation"),
        ("Inpatient Rehabilitation Facility", "psychiatric_or_rehabilitation"),
        ("Jail", "other"),
        ("", ""),
        ("  ", ""),
        ("nan", ""),
        (None, ""),
    ],
)
def test_discharge_disposition(text, want):
    assert disposition.discharge_disposition(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("ICU", "icu"), (" discharge ", "discharge"), ("Eloped", ""), ("", ""), (None, "")],
)
def test_an_unknown_ed_disposition_is_no_discharge(text, want):
    assert disposition.ed_disposition(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2-Emergent", "2"),
        (" 5 - Non-Urgent", "5"),
        ("3", "3"),
        ("4.0", "4"),
        ("4.5", ""),
        ("6-None", ""),
        ("12", ""),
        ("Urgent", ""),
        (None, ""),
    ],
)
def test_acuity(text, want):
    assert disposition.acuity(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("98765421", "98765421"),
        ("98765421.0", "98765421"),
        ("0098", "0098"),
        ("9.8765421e+07", "98765421"),
        ("../98", ""),
        ("1.5", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_numbers_of_visits(text, want):
    assert visit.identifier(text) == want


def test_more_windows_are_the_first_of_each_segment_and_then_later_ones(tree, tmp_path):
    first = tree.add(seconds=(25, 12, 4))
    stem = first.removesuffix("_1@0")
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data", max_windows=3)
    assert sorted(examples(made)) == [f"{stem}_1@0", f"{stem}_1@5000", f"{stem}_2@0"]
    assert (f"{stem}_3", "too_short", "kept") in problems(made)
    made = build(tree.made.source, tmp_path / "more", max_windows=99)
    assert len(examples(made)) == 3


def test_a_window_without_signal_is_told_and_a_later_one_of_the_segment_is_taken(tree, tmp_path):
    flat = tree.add(seconds=(25,))
    tree.spoil(flat, slice(0, 5000), 7)
    dead = tree.add(seconds=(100,))
    tree.spoil(dead, slice(0, None), -32768)
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert list(examples(made)) == [flat.replace("@0", "@5000")]
    lost = [f["record_id"] for f in findings(made) if f["action"] == "quarantined"]
    assert lost == [flat, *(dead.replace("@0", f"@{5000 * n}") for n in range(5))]


def test_wild_numbers_of_segments_end_somewhere(tree, tmp_path):
    record_id = tree.add()
    stem = tree.made.source / record_id.removesuffix("_1@0")
    for extension in ("hea", "dat"):
        path = pathlib.Path(f"{stem}_1.{extension}")
        path.rename(f"{stem}_999999999.{extension}")
    header = pathlib.Path(f"{stem}_999999999.hea")
    header.write_text(header.read_text().replace("_1", "_999999999"))
    tree.summary[-2] = tree.summary[-2].replace(",1,", ",1e12,")
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert list(examples(made)) == [record_id.replace("_1@0", "_999999999@0")]


def test_as_given_leaves_a_patient_in_both_splits(tree, tmp_path):
    early, late = tree.add("train", mrn="7"), tree.add("test", mrn="7.0")
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert split_of(made) == {early: "train", late: "train"}
    assert made.summary.coverage["patients that the split files list in several splits"] == "1 of 1"
    made = build(tree.made.source, tmp_path / "data", config="as_given")
    assert split_of(made) == {early: "train", late: "test"}
    assert (late.removesuffix("@0"), "patient_in_several_splits", "kept") in problems(made)


def test_split_files_may_be_absent_or_have_other_forms(tree, tmp_path):
    ids = [tree.add("train"), tree.add("test"), tree.add("validation")]
    tree.write_tables()
    folder = tree.made.source / "data"
    csns = [record_id.split("/")[2] for record_id in ids]
    (folder / "split_chrono_train.csv").write_bytes(
        f'\ufeffCSN\r\n"{csns[0]}.0",x\r\n\r\nnonsense\r\n'.encode()
    )
    (folder / "split_chrono_val.csv").unlink()
    (folder / "split_chrono_test.csv").rename(tree.made.source / "split_chrono_test.csv")
    made = build(tree.made.source, tmp_path / "data")
    stored = split_of(made)
    assert (stored[ids[0]], stored[ids[1]]) == ("train", "test")
    assert (ids[2].removesuffix("@0"), "unknown_split", "kept") in problems(made)
    coverage = made.summary.coverage
    assert coverage["unreadable rows of split_chrono_train.csv"] == "1"
    assert "split_chrono_val.csv: a hash" in coverage["split files that are absent"]
    for name in ("split_chrono_test.csv", "data/split_chrono_train.csv"):
        (tree.made.source / name).unlink()
    made = build(tree.made.source, tmp_path / "hashed")
    assert len(examples(made)) == 3
    assert not findings(made)


def test_a_visit_in_no_split_file_stays_with_its_patient(tree, tmp_path):
    listed = {
        tree.add("test", mrn=f"{number}"): tree.add("", mrn=f"{number}") for number in range(9)
    }
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert set(split_of(made).values()) == {"test"}
    unlisted = {record_id.removesuffix("@0") for record_id in listed.values()}
    assert problems(made) == {(r, "unknown_split", "kept") for r in unlisted}


def test_a_visit_in_two_split_files_belongs_to_the_first(tree, tmp_path):
    record_id = tree.add("train")
    tree.splits["test"] += tree.splits["train"]
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert split_of(made) == {record_id: "train"}
    assert (record_id.removesuffix("@0"), "visit_in_several_splits", "kept") in problems(made)


def test_tables_may_lack_columns_and_the_summary_and_lie_at_the_top(tree, tmp_path):
    ids = [tree.add(), tree.add(kinds=("Pleth",))]
    tree.folder = ""
    tree.write_tables()
    (tree.made.source / "waveform_summary.csv").unlink()
    csns = [record_id.split("/")[2] for record_id in ids]
    text = "csn,ED_DISPO\r\n" + "".join(f"{csn},icu\r\n" for csn in csns) + "\r\n"
    (tree.made.source / "visits.csv").write_text(text, newline="", encoding="utf-8-sig")
    made = build(tree.made.source, tmp_path / "data")
    stored = examples(made)
    assert list(stored) == [ids[0]]
    assert stored[ids[0]]["ed_disposition"] == b"icu"
    assert stored[ids[0]]["discharge_disposition"] == b""
    assert np.isnan(stored[ids[0]]["triage_sbp_mmhg"])
    assert made.summary.coverage["visits without lead II"] == "1 of 2"
    assert "MRN" in made.summary.coverage["columns that visits.csv lacks"]


def test_waveforms_may_lie_in_data_or_bare(tree, tmp_path):
    record_id = tree.add()
    tree.write_tables()
    source = tree.made.source
    (source / "waveforms").rename(source / "data" / "waveforms")
    assert list(examples(build(source, tmp_path / "a"))) == [f"data/{record_id}"]
    bare = record_id.removeprefix("waveforms/")
    (source / "data" / "waveforms" / bare[:3]).rename(source / bare[:3])
    (source / "data" / "waveforms").rmdir()
    assert list(examples(build(source, tmp_path / "b"))) == [bare]
    (source / bare[:3]).rename(tmp_path / "elsewhere")
    with refuses(source, "waveforms", "waveforms_0xx.zip", problem="missing_folder"):
        build(source, tmp_path / "c")


def test_zeros_before_a_number_are_those_of_the_folder(tree, tmp_path):
    record_id = tree.add()
    csn = record_id.split("/")[2]
    tree.visits[-1] = tree.visits[-1].replace(csn, f"00{csn}.0")
    tree.splits["train"] = [f"0{csn}"]
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert split_of(made) == {record_id: "train"}
    assert not findings(made)


def test_labels_of_the_reference_replace_those_of_visits(tree, tmp_path):
    ids = [tree.add() for _ in range(4)]
    csns = [record_id.split("/")[2] for record_id in ids]
    tree.write_tables()
    labels = tmp_path / "labels" / "variables_encounter_all.csv"
    labels.parent.mkdir()
    labels.write_text(
        "visit_id,Triage_acuity,ED_dispo,DC_dispo,Triage_SBP,Triage_DBP,II_n_segments\n"
        f"{csns[0]},1-Resuscitation,ICU,Expired,90.0,,1\n"
        f"{csns[1]}.0,5,,Jail,,,1\n"
        f"{csns[2]},5,ICU,Jail,,,0\n"
    )
    made = build(tree.made.source, tmp_path / "data", label_source=str(labels.parent))
    stored = examples(made)
    assert sorted(stored) == sorted(ids[:2])
    assert stored[ids[0]]["discharge_disposition"] == b"death_or_hospice"
    assert stored[ids[0]]["sbp_mmhg"] == stored[ids[0]]["triage_sbp_mmhg"] == 90
    assert np.isnan(stored[ids[0]]["triage_dbp_mmhg"])
    assert stored[ids[1]]["ed_disposition"] == b""
    assert stored[ids[1]]["patient_id"] == tree.visits[2].partition(",")[0].encode()
    assert not np.isnan(stored[ids[1]]["age_years"])
    (tree.made.source / "data" / "visits.csv").unlink()
    made = build(tree.made.source, tmp_path / "alone", label_source=str(labels))
    stored = examples(made)
    assert stored[ids[0]]["patient_id"] == f"unknown of {csns[0]}".encode()
    assert (ids[0].removesuffix("@0"), "unknown_patient", "kept") in problems(made)
    with refuses(tmp_path / "nothing.csv", "--label-source", problem="missing_file"):
        build(tree.made.source, tmp_path / "none", label_source=str(tmp_path / "nothing.csv"))


def test_headers_that_are_odd(tree, tmp_path):
    renamed, volts, broken, slow = (tree.add() for _ in range(4))

    def edit(record_id, old, new):
        path = tree.made.source / f"{record_id.removesuffix('@0')}.hea"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    edit(renamed, " 0 II", " 0 ECG")
    edit(volts, "/mV", "/V")
    edit(broken, "1 500 6000", "")
    edit(slow, "1 500 6000", "1 0 6000")
    tree.write_tables()
    made = build(tree.made.source, tmp_path / "data")
    assert list(examples(made)) == [renamed]
    lost = {(f["record_id"], f["problem"]) for f in findings(made) if f["action"] == "quarantined"}
    assert lost == {
        (volts, "wrong_units"),
        (broken.removesuffix("@0"), "unreadable"),
        (slow.removesuffix("@0"), "wrong_rate"),
    }
