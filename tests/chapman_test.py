"""Tests diagnoses, splits and damaged tables of Chapman-Shaoxing-Ningbo."""

import json
import pathlib

import numpy as np
import prepared
import pytest
from clef_datasets.chapman import simulated
from culprits import refuses
from prepared import examples, findings

from clef_jax.data import index
from clef_jax.leads import STANDARD_12
from clef_jax.simulation import fixture

NAMES = "ConditionNames_SNOMED-CT.csv"
FILES = ("chapman_train.csv", "chapman_val.csv", "chapman_test.csv")


def build(source, data_dir, **options):
    return prepared.build("chapman", source, data_dir, **options)


def label(example, name):
    return [value.decode() for value in example[name]]


def declared(made, name):
    stored = json.loads((pathlib.Path(made.data_path) / index.METADATA_FILE).read_text())
    return next(
        stored_examples["classes"]
        for stored_examples in stored["labels"]
        if stored_examples["name"] == name
    )


def add(source, name, *comments, signal_seed=0, folder="WFDBRecords/01/010"):
    """Writes a recording with these comments; returns its record id."""
    rng = np.random.default_rng(signal_seed)
    adc = rng.normal(0, 200, (12, 5000)).astype(np.int16)
    fixture.write_wfdb(
        source / folder / name,
        adc,
        leads=STANDARD_12,
        sample_rate_hz=500,
        gain="1000/mV",
        storage_format="16+24",
        comments=comments,
    )
    return f"{folder}/{name}"


def write_split(folder, rows, classes="AFIB,SR"):
    """Writes the tables of the HeartLang split; `rows` are those of train, validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, lines in zip(FILES, rows, strict=True):
        (folder / file).write_text("\n".join([f"ecg_path,age,diagnose,{classes}", *lines]) + "\n")


@pytest.fixture(scope="module")
def heartlang(tmp_path_factory):
    """Expected contents with the HeartLang split, and the builder that prepared them."""
    folder = tmp_path_factory.mktemp("heartlang")
    made = simulated.write(folder / "source", heartlang=True)
    return made, build(made.source, folder / "data")


def test_the_given_split_decides_on_records_splits_and_classes(heartlang):
    made, dataset_builder = heartlang
    stored_examples = examples(dataset_builder)
    assert sorted(stored_examples) == sorted(made.stored)
    for record_id, want in made.stored.items():
        assert stored_examples[record_id]["split"] == want.split
        assert label(stored_examples[record_id], "diagnoses") == want.labels["diagnoses"]
        assert label(stored_examples[record_id], "snomed") == want.labels["snomed"]
    assert len(declared(dataset_builder, "diagnoses")) == 38
    assert (
        dataset_builder.summary.coverage["recordings that the HeartLang split does not use"] == "2"
    )


def test_the_column_of_twelves_is_no_age(heartlang):
    made, dataset_builder = heartlang
    for record_id, example in examples(dataset_builder).items():
        np.testing.assert_equal(example["age_years"], made.stored[record_id].labels["age_years"])
        assert example["age_years"] != 12


def test_every_defect_of_the_given_split_is_told(heartlang):
    made, dataset_builder = heartlang
    stored_examples = {
        (f["record_id"], f["problem"], f["action"]) for f in findings(dataset_builder)
    }
    for planted in made.planted:
        assert (planted.record_id, planted.problem, planted.action) in stored_examples
    lost = {p.record_id for p in made.planted if p.action == "quarantined"}
    assert {
        record_id for record_id, _, action in stored_examples if action == "quarantined"
    } == lost


def test_rows_of_the_given_split_that_cannot_be_used(tmp_path):
    source = tmp_path / "source"
    good = add(source, "JS00001", "#Dx: 426783006")
    twice = add(source, "JS00002", "#Dx: 426783006")
    moved = add(source, "JS00003", "#Dx: 164889003")
    bad = add(source, "JS00004", "#Dx: 164889003")
    rows = (
        [
            f"/chapman/{good},12,SR,0,1",
            f"C:\\data\\{twice}.mat".replace("/", "\\") + ',12,"SR,AFIB",0.0,1.0',
            "",
            f"/chapman/{bad},12,SR,0,",
            f"/chapman/{good},12,SR",
        ],
        ["/elsewhere/JS00003.hea,12,AFIB,1,0", "/chapman/WFDBRecords/../../JS00009,12,SR,0,1"],
        [f"/chapman/{twice},12,SR,0,1", ",12,SR,0,1"],
    )
    write_split(tmp_path / "split", rows)
    made = build(source, tmp_path / "data", label_source=str(tmp_path / "split"))
    stored_examples = examples(made)
    assert {r: (e["split"], label(e, "diagnoses")) for r, e in stored_examples.items()} == {
        good: ("train", ["SR"]),
        twice: ("train", ["SR"]),
        moved: ("validation", ["AFIB"]),
    }
    assert sorted((f["record_id"], f["problem"]) for f in findings(made)) == [
        ("Row 3 of chapman_test.csv", "bad_row"),
        ("Row 6 of chapman_train.csv", "bad_row"),
        ("WFDBRecords/../../JS00009", "path_outside_source"),
        (twice, "duplicate_record"),
        (bad, "bad_row"),
    ]


def test_a_missing_recording_of_the_given_split_is_told(tmp_path):
    source = tmp_path / "source"
    good = add(source, "JS00001", "#Dx: 426783006")
    rows = ([f"/chapman/{good},12,SR,0,1", "/chapman/WFDBRecords/07/071/JS7,12,SR,0,1"], [], [])
    write_split(source, rows)
    made = build(source, tmp_path / "data")
    assert list(examples(made)) == [good]
    (finding,) = findings(made)
    assert (finding["record_id"], finding["problem"]) == (
        "WFDBRecords/07/071/JS7",
        "missing_file",
    )


@pytest.mark.parametrize(
    ("spoil", "problem", "culprit"),
    [
        (lambda f: (f / FILES[1]).unlink(), "missing_file", "chapman_val.csv"),
        (
            lambda f: (f / FILES[2]).write_text("ecg_path,age,diagnose,SR\n"),
            "other_classes",
            FILES[2],
        ),
        (lambda f: (f / FILES[0]).write_text("path,SR\n"), "missing_column", "ecg_path"),
        (lambda f: (f / FILES[0]).write_text(""), "missing_column", "ecg_path"),
        (lambda f: (f / FILES[0]).write_text('"' + 200_000 * "x"), "unreadable_table", FILES[0]),
    ],
)
def test_other_tables_are_refused(spoil, problem, culprit, tmp_path):
    source = tmp_path / "source"
    add(source, "JS00001", "#Dx: 426783006")
    write_split(source, ([], [], []))
    spoil(source)
    with refuses(culprit, problem=problem):
        build(source, tmp_path / "data", label_source=str(source / FILES[0]))


def test_a_label_source_without_tables_is_refused(tmp_path):
    source = tmp_path / "source"
    add(source, "JS00001", "#Dx: 426783006")
    with refuses("nowhere", "chapman_train.csv", "chapman_val.csv", problem="missing_file"):
        build(source, tmp_path / "data", label_source=str(tmp_path / "nowhere"))


def test_what_headers_say_of_people_and_diagnoses(tmp_path):
    source = tmp_path / "source"
    cases = {
        "JS1": (("#Age: 85", "#Sex: Male", "#Dx: 164889003,59118001"), (85, 1, 2)),
        "JS2": (("# Age: 85", "# Sex: Female", "# Dx: 164889003"), (85, 0, 1)),
        "JS3": (("#Age: NaN", "#Sex: Unknown", "#Dx: 1.0, 1 ,22"), (np.nan, np.nan, 2)),
        "JS4": (("#Age: 300", "#Sex: m", "#Dx: Unknown"), (np.nan, 1, 0)),
        "JS5": ((), (np.nan, np.nan, 0)),
    }
    ids = {add(source, name, *lines): want for name, (lines, want) in cases.items()}
    made = build(source, tmp_path / "data")
    stored_examples = examples(made)
    for record_id, (age_years, male, num_codes) in ids.items():
        np.testing.assert_equal(stored_examples[record_id]["age_years"], np.float32(age_years))
        np.testing.assert_equal(stored_examples[record_id]["male"], np.float32(male))
        assert len(label(stored_examples[record_id], "snomed")) == num_codes
        assert label(stored_examples[record_id], "acronyms") == label(
            stored_examples[record_id], "snomed"
        )
        assert label(stored_examples[record_id], "diagnoses") == []
    problems = [(f["record_id"][-3:], f["problem"]) for f in findings(made)]
    assert problems == [("JS4", "unlabelled"), ("JS5", "unlabelled")]
    assert made.summary.coverage["names of diagnoses"].startswith("codes only")


def test_a_class_needs_ten_recordings(tmp_path):
    source = tmp_path / "source"
    (source / "WFDBRecords").mkdir(parents=True)
    (source / NAMES).write_text("Acronym Name,Snomed_CT\nA,111111\nA,222222\nB,333333\n")
    for number in range(10):
        code = "111111" if number % 2 else "222222"
        add(source, f"JS{number}", f"#Dx: {code}" + (",333333" if number else ""))
    made = build(source, tmp_path / "data")
    assert declared(made, "diagnoses") == ["A"]
    assert {tuple(label(e, "diagnoses")) for e in examples(made).values()} == {("A",)}


@pytest.mark.parametrize(
    ("text", "acronyms"),
    [
        ("\ufeffAcronym Name,Full Name,Snomed_CT\r\nSR,Sinus Rhythm,426783006\r\n", ["SR"]),
        ('Code,Count,"Acronym Name "\n\n426783006.0,8125,"SR"\n', ["SR"]),
        ('Full Name,acronym name,X\n"Rhythm, sinus",SR,426783006\n,AF\n,,\n', ["SR"]),
        ("Acronym Name,Snomed_CT\nSR,426783006\nNSR,426783006\n", ["SR"]),
        ("Full Name,Snomed_CT\nSinus Rhythm,426783006\n", ["426783006"]),
        ("Acronym Name\nSR\n", ["426783006"]),
        ("", ["426783006"]),
    ],
)
def test_the_names_of_codes_in_any_table(text, acronyms, tmp_path):
    source = tmp_path / "source"
    record_id = add(source, "JS00001", "#Dx: 426783006")
    (source / NAMES.lower()).write_text(text, newline="")
    made = build(source, tmp_path / "data")
    assert label(examples(made)[record_id], "acronyms") == acronyms
    assert findings(made) == []


def test_recordings_are_found_by_either_file_and_by_the_list(tmp_path):
    source = tmp_path / "source"
    good = add(source, "JS00001", "#Dx: 426783006")
    other = add(source, "JS00002", "#Dx: 426783006", folder="WFDBRecords/02")
    no_header = add(source, "JS00003", "#Dx: 426783006")
    (source / f"{no_header}.hea").unlink()
    (source / "WFDBRecords/01/010/._JS00001.hea").write_bytes(b"\0")
    (source / "RECORDS").write_text(
        "WFDBRecords/01/010/\nJS00001\nWFDBRecords/01/010/JS00004.mat\n"
    )
    (source / "WFDBRecords/02/RECORDS").write_text("JS00002\r\n\r\nJS00005\r\n../../../x\r\n")
    made = build(source, tmp_path / "data")
    assert sorted(examples(made)) == [good, other]
    assert sorted((f["record_id"], f["problem"]) for f in findings(made)) == [
        (no_header, "missing_file"),
        ("WFDBRecords/01/010/JS00004", "missing_file"),
        ("WFDBRecords/02/../../../x", "path_outside_source"),
        ("WFDBRecords/02/JS00005", "missing_file"),
    ]


def test_a_linked_folder_that_leads_out_is_not_read(tmp_path):
    (tmp_path / "source").mkdir()
    add(tmp_path / "elsewhere", "JS00001", folder="01/010")
    (tmp_path / "source/WFDBRecords").symlink_to(tmp_path / "elsewhere")
    with refuses("path_outside_source", problem="nothing_usable"):
        build(tmp_path / "source", tmp_path / "data")
