"""Tests ejection fractions of a user's table, and the patients' pre-training splits."""

import numpy as np
import prepared
import pytest
from culprits import refuses
from mimic_tree import Tree
from prepared import examples, problems

HEAD = "number,waveform_path,view,LVEF,label"


@pytest.fixture
def tree(tmp_path):
    """A source of forty patients, the first with two recordings."""
    tree = Tree(tmp_path / "source")
    for number in range(40):
        tree.add(10_000_000 + number, 40_000_000 + number)
    tree.add(10_000_000, 41_000_000, time="2151-01-01 00:00:00")
    tree.write(hosp=False)
    return tree


def path(number, study=None):
    subject = 10_000_000 + number
    study = study or 40_000_000 + number
    return f"files/p{subject // 10000}/p{subject}/s{study}/{study}"


def write_table(folder, rows, name="LVEF.csv"):
    lines = [HEAD, *(f"{i},{','.join(map(str, row))}" for i, row in enumerate(rows))]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def build(tree, data_dir, config="lvef", **options):
    dataset = f"mimic_iv_ecg/{config}"
    return prepared.build(dataset, tree.source, data_dir, clinical_source="none", **options)


def test_labels_are_those_of_the_table(tree, tmp_path):
    write_table(
        tree.source,
        [
            (path(0), "x", 35.5, 1),
            (path(0, 41_000_000), "x", 62, 0),
            (f"/somewhere/mimic/{path(1)}.hea", "x", 55, 0),
            (path(2), "x", "", 1),
            (path(3), "x", 250, 0),
            (path(4), "x", 60, 1),
            (path(5), "x", "", ""),
            (path(6), "x", 50, 0),
            (path(6), "x", 20, 1),
            (path(77), "x", 50, 0),
            ("", "x", 50, 0),
        ],
    )
    made = build(tree, tmp_path / "data")
    stored = examples(made)
    values = {key: (e["lvef_percent"], e["lvef_below_50"]) for key, e in stored.items()}
    expected = {
        path(0): (35.5, 1),
        path(0, 41_000_000): (62, 0),
        path(1): (55, 0),
        path(2): (np.nan, 1),
        path(3): (np.nan, 0),
        path(4): (60, 1),
        path(6): (50, 0),
    }
    assert set(values) == set(expected)
    for key, want in expected.items():
        np.testing.assert_array_equal(values[key], np.float32(want))
    assert {stored[path(0)]["patient_id"], stored[path(0, 41_000_000)]["patient_id"]} == {
        b"10000000"
    }
    assert problems(made) == {
        (path(4), "label_mismatch", "kept"),
        (path(5), "unlabelled", "quarantined"),
        (path(6), "duplicate_record", "kept"),
        (path(77), "not_listed", "quarantined"),
        ("row 11 of the ejection fractions", "not_listed", "quarantined"),
    }


def all_rows():
    return [(path(number), "x", 40 + number, int(number < 10)) for number in range(40)]


def test_splits_are_by_patient(tree, tmp_path):
    rows = [*all_rows(), (path(0, 41_000_000), "x", 62, 0)]
    table = write_table(tmp_path, rows)
    made = build(tree, tmp_path / "data", label_source=str(table))
    patients = {s: {e["patient_id"] for e in made.as_data_source(s)} for s in made.info.splits}
    assert set(patients) == {"train", "validation", "test"}
    assert sum(map(len, patients.values())) == len(set().union(*patients.values())) == 40


def test_before_pretraining_the_hash_tells_who_will_be_in_it(tree, tmp_path):
    write_table(tree.source, all_rows())
    stored = examples(build(tree, tmp_path / "data"))
    prepared = build(tree, tmp_path / "other", config="all_records")
    split = {
        e["patient_id"]: split
        for split in prepared.info.splits
        for e in prepared.as_data_source(split)
    }
    for example in stored.values():
        assert example["pretraining_split"].decode() == split[example["patient_id"]]


def test_patients_that_pretraining_leaves_out_are_told_from_others(tree, tmp_path):
    table = write_table(tree.source, all_rows())
    left_out = write_table(tmp_path, all_rows()[:15], "left_out.csv")
    pretraining = build(tree, tmp_path / "data", config="one_per_patient", leave_out=str(left_out))
    assert len(examples(pretraining)) == 25
    words = pretraining.summary.coverage["excluded by --leave-out"]
    assert words == "16 recordings of 15 patients"
    made = build(tree, tmp_path / "data", label_source=str(table))
    assert made.summary.coverage["pre-training data"] == "mimic_iv_ecg/one_per_patient"
    for key, example in examples(made).items():
        outside = int(key[-2:]) < 15
        assert (example["pretraining_split"] == b"none") == outside


@pytest.mark.parametrize(
    ("text", "problem", "culprit"),
    [
        (None, "missing_file", "--label-source=FILE.csv"),
        ("a,b\n1,2\n", "missing_column", "2 columns"),
        (f"{HEAD}\n1,somewhere,x,50,0\n", "no_paths", "'waveform_path'"),
    ],
)
def test_other_tables_are_refused(text, problem, culprit, tree, tmp_path):
    if text is not None:
        (tree.source / "my_lvef_table.csv").write_text(text)
    with refuses(culprit, problem=problem):
        build(tree, tmp_path / "data")


def test_a_table_that_leaves_nobody_out_is_refused(tree, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with refuses(tmp_path / "t.csv", problem="no_paths"):
        build(tree, tmp_path / "data", config="all_records", leave_out=str(tmp_path / "t.csv"))
    with refuses("nowhere.csv", problem="missing_file"):
        build(tree, tmp_path / "data", config="all_records", leave_out="nowhere.csv")
