"""Tests that each fault of a MIMIC-IV-ECG download is reported, and other records are stored."""

import os

import numpy as np
import prepared
import pytest
from culprits import refuses
from mimic_tree import LEADS, Tree, ecg
from prepared import examples, findings

from clef_jax.data import index
from clef_jax.leads import STANDARD_12


def build(source, data_dir, config="all_records", **options):
    return prepared.build(f"mimic_iv_ecg/{config}", source, data_dir, **options)


def edit(tree, record_id, old, new):
    path = tree.source / f"{record_id}.hea"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def add_eight_leads(tree, subject):
    return tree.add(subject, subject, signal=ecg(0)[:8], leads=LEADS[:8])


def add_path_escape(tree, subject):
    tree.add(subject, subject)
    record_id = tree.rows[-1].split(",")[-1]
    tree.rows[-1] = f"{subject},{subject},{subject},2150-01-01 00:00:00,../x/{record_id}"
    return f"../x/{record_id}"


def add_duplicate(tree, subject):
    good = tree.add(subject, subject)
    tree.rows.append(tree.rows[-1])
    return good


def add_wrong_subject(tree, subject):
    record_id = tree.add(subject, subject)
    tree.rows[-1] = tree.rows[-1].replace(f"{subject}", f"{subject + 1}", 1)
    return record_id


def add_garbage_row(tree, subject):
    tree.rows.append("not,a,row")
    tree.rows.append(f"{subject},{subject},1,2150-01-01 00:00:00,files/x,and,more")
    tree.rows.append(f'"{subject},{subject},1')
    return "record_list.csv line"


def spoilt(change):
    def add(tree, subject):
        record_id = tree.add(subject, subject)
        change(tree, record_id)
        return record_id

    return add


def make_pipe(tree, record_id, extension):
    path = tree.source / f"{record_id}.{extension}"
    path.unlink()
    os.mkfifo(path)


FAULTS = {
    "pipe as header": (
        spoilt(lambda t, r: make_pipe(t, r, "hea")),
        "not_a_file",
        ".hea is a pipe",
    ),
    "pipe as signal": (
        spoilt(lambda t, r: make_pipe(t, r, "dat")),
        "not_a_file",
        ".dat is a pipe",
    ),
    "truncated": (
        spoilt(lambda t, r: os.truncate(t.source / f"{r}.dat", 100_000)),
        "truncated",
        "100,000 bytes instead of 120,000",
    ),
    "missing signal": (
        spoilt(lambda t, r: (t.source / f"{r}.dat").unlink()),
        "missing_file",
        ".dat does not exist",
    ),
    "missing header": (
        spoilt(lambda t, r: (t.source / f"{r}.hea").unlink()),
        "missing_file",
        ".hea does not exist",
    ),
    "garbage header": (
        spoilt(lambda t, r: (t.source / f"{r}.hea").write_bytes(b"\xff\x00garbage")),
        "unreadable",
        "does not describe a record",
    ),
    "rate": (lambda t, s: t.add(s, s, rate=250), "wrong_rate", "250 Hz instead of 500 Hz"),
    "length": (
        lambda t, s: t.add(s, s, signal=ecg(0, num_samples=4000)),
        "wrong_length",
        "4,000 samples",
    ),
    "eight leads": (add_eight_leads, "missing_lead", "V3, V4, V5, V6"),
    "lead name": (
        lambda t, s: t.add(s, s, leads=("MCL1", *LEADS[1:])),
        "unknown_lead",
        "'MCL1'",
    ),
    "units": (lambda t, s: t.add(s, s, gain="200(0)/V"), "wrong_units", "200/V"),
    "nothing recorded": (
        lambda t, s: t.add(s, s, signal=np.full((12, 5000), -32768)),
        "no_usable_lead",
        "No lead is usable",
    ),
    "all flat": (
        lambda t, s: t.add(s, s, signal=np.zeros((12, 5000))),
        "no_usable_lead",
        "No lead is usable",
    ),
    "path": (add_path_escape, "path_outside_source", "was not opened"),
    "duplicate": (add_duplicate, "duplicate_record", "an earlier row lists"),
    "subject": (add_wrong_subject, "subject_mismatch", "another subject"),
    "row": (add_garbage_row, "bad_row", "not a row with a subject_id"),
}


def test_every_fault_is_named_and_the_good_records_survive(tmp_path):
    tree = Tree(tmp_path / "source")
    good = [tree.add(10_000_000 + n, 40_000_000 + n) for n in range(3)]
    expected = {}
    for number, (name, (add, problem, words)) in enumerate(FAULTS.items()):
        record_id = add(tree, 10_001_000 + 10 * number)
        expected[name] = (record_id, problem, words)
        if name == "duplicate":
            good.append(record_id)
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source="none")
    assert sorted(examples(made)) == sorted(good)
    quarantined = [f for f in findings(made) if f["action"] == "quarantined"]
    assert len(quarantined) == len(FAULTS) + 2
    for name, (record_id, problem, words) in expected.items():
        matching = [f for f in quarantined if f["record_id"].startswith(record_id)]
        assert {f["problem"] for f in matching} == {problem}, name
        assert words in matching[0]["detail"], name


def test_leads_are_stored_by_name_whatever_the_file_s_order(tmp_path):
    tree = Tree(tmp_path / "source")
    shuffled = LEADS[::-1]
    orders = [LEADS, shuffled, tuple(name.upper() for name in shuffled)]
    ids = [
        tree.add(10_000_000 + n, n + 1, signal=ecg(n), leads=leads, gain=f"{100 * n + 100}({n})/mV")
        for n, leads in enumerate(orders)
    ]
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source="none")
    stored = examples(made)
    for number, (record_id, leads) in enumerate(zip(ids, orders, strict=True)):
        names = [name.upper() for name in leads]
        want = np.stack([ecg(number)[names.index(lead.upper())] for lead in STANDARD_12])
        np.testing.assert_array_equal(stored[record_id]["signal"], want)
        assert (stored[record_id]["gain_per_mv"] == 100 * number + 100).all()
        assert (stored[record_id]["baseline"] == number).all()
        assert tuple(n.decode() for n in stored[record_id]["lead_names"]) == STANDARD_12


def test_the_earliest_usable_recording_of_each_patient(tmp_path):
    tree = Tree(tmp_path / "source")
    flat = np.zeros((12, 5000), np.int16)
    tree.add(10_000_001, 3, time="2152-01-01 00:00:00")
    first = tree.add(10_000_001, 2, time="2151-01-01 00:00:00")
    tree.add(10_000_001, 1, time="2150-01-01 00:00:00", signal=flat)
    other = tree.add(10_000_002, 4, time="")
    made = build(
        tree.write(hosp=False), tmp_path / "data", config="one_per_patient", clinical_source="none"
    )
    stored = examples(made)
    assert sorted(stored) == sorted([first, other])
    assert stored[first]["recorded_at"] == b"2151-01-01T00:00:00"
    assert stored[other]["recorded_at"] == b""
    kept = {(f["problem"], f["action"]) for f in findings(made)}
    assert ("unknown_time", "kept") in kept


def test_a_linked_folder_that_leads_out_is_not_opened(tmp_path):
    tree = Tree(tmp_path / "source")
    good = tree.add(10_000_001, 1)
    record_id = tree.add(10_000_002, 2)
    folder = (tree.source / record_id).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source="none")
    assert list(examples(made)) == [good]
    assert [f["problem"] for f in findings(made)] == ["path_outside_source"]


@pytest.mark.parametrize(("where", "hint"), [("files", ""), ("..", ""), (".", None)])
def test_a_wrong_folder_is_told(where, hint, tmp_path):
    tree = Tree(tmp_path / "source")
    tree.add(10_000_001, 1)
    source = tree.write()
    if hint is None:
        (source / "record_list.csv").rename(tmp_path / "away.csv")
        culprit = source / where
    else:
        culprit = f"--source={source}"
    with refuses("record_list.csv", culprit, problem="not_the_source"):
        build(source / where, tmp_path / "data")


def test_a_list_without_its_columns_is_told(tmp_path):
    (tmp_path / "record_list.csv").write_text("subject,file\n1,2\n")
    with refuses("record_list.csv", "subject_id", problem="missing_column"):
        build(tmp_path, tmp_path / "data")


def test_a_line_of_the_list_that_is_not_utf_8_is_skipped_and_counted(tmp_path):
    tree = Tree(tmp_path / "source")
    good = [tree.add(10_000_000 + n, n + 1) for n in range(2)]
    path = tree.write(hosp=False) / "record_list.csv"
    head, first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([head, first, b"10000009,9,9,,files/caf\xe9", second, b""]))
    made = build(tree.source, tmp_path / "data", clinical_source="none")
    assert sorted(examples(made)) == good
    assert made.summary.coverage["unreadable rows of record_list.csv"] == "1"


def test_unknown_risk_without_clinical_source(tmp_path):
    tree = Tree(tmp_path / "source")
    record_id = tree.add(10_000_001, 1)
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source="none")
    example = examples(made)[record_id]
    assert np.isnan(example["risk"])
    assert example["completeness"] == 0
    stored = index.load(made.data_path, "train")
    assert np.isnan(stored.cohort_quantiles).all()
    assert np.isnan(stored.risk).all()
    assert stored.settings["clinical_source"] == "none"
