"""Tests published and damaged tables and folders of the CinC Challenge 2017."""

import numpy as np
import prepared
import pytest
from culprits import refuses
from prepared import examples

from clef_jax.simulation import fixture


def add(source, path, *, seconds=10, rate=300, leads=("ECG",)):
    """Writes a recording of noise with the amplitude of an ECG."""
    rng = np.random.default_rng(0)
    adc = rng.normal(0, 200, (len(leads), seconds * rate)).astype(np.int16)
    fixture.write_wfdb(
        source / path,
        adc,
        leads=leads,
        sample_rate_hz=rate,
        gain="1000/mV",
        storage_format="16+24",
        checksums=False,
        record_line_end="2014-05-08 05:05:15 ",
    )


def build(source, data_dir, **options):
    return prepared.build("cinc2017", source, data_dir, **options)


def rhythms(made):
    return {record_id: e["rhythm"].decode() for record_id, e in examples(made).items()}


def findings(made):
    return sorted((f["record_id"], f["problem"], f["action"]) for f in prepared.findings(made))


@pytest.mark.parametrize(
    "text",
    [
        "A00001,A\nA00002,~\n",
        "\ufeffA00001,A\r\n\r\nA00002,~\r\n",
        '"A00001","A"\n"A00002","~"',
        " a00001 , a \n,\n\tA00002 ,~,\n",
        "A00001.mat,A\nvalidation/A00002,~\n",
        "Recording,Label\nA00001,A\nA00002,~\n",
    ],
)
def test_reads_the_table_in_any_spelling(text, tmp_path):
    source = tmp_path / "source"
    add(source, "A00001")
    add(source, "A00002")
    (source / "REFERENCE.csv").write_text(text, newline="")
    made = build(source, tmp_path / "data")
    assert rhythms(made) == {"A00001": "A", "A00002": "~"}
    assert findings(made) == []


def test_lines_that_say_nothing_are_told(tmp_path):
    source = tmp_path / "source"
    for number in range(1, 6):
        add(source, f"A0000{number}")
    lines = ("A00001,N", "A00001,A", "A00002,", "A00003,P", "A00004", "nothing,N", ",N")
    (source / "REFERENCE.csv").write_text("\n".join(lines))
    made = build(source, tmp_path / "data")
    unknown = dict.fromkeys(("A00002", "A00003", "A00004", "A00005"), "")
    assert rhythms(made) == {"A00001": "N", **unknown}
    assert findings(made) == [
        ("A00001", "duplicate_record", "quarantined"),
        ("A00002", "unlabelled", "kept"),
        ("A00003", "unknown_class", "kept"),
        ("A00004", "unlabelled", "kept"),
        ("A00005", "unlabelled", "kept"),
        ("REFERENCE.csv line 6", "bad_row", "quarantined"),
        ("REFERENCE.csv line 7", "bad_row", "quarantined"),
    ]


def test_the_newest_table_of_the_published_tree(tmp_path):
    source = tmp_path / "source"
    add(source, "training/A00/A00001")
    add(source, "training/A01/A01000")
    add(source, "validation/A00001")
    (source / "training/REFERENCE.csv").write_text("A00001,N\nA01000,N\n")
    (source / "validation/REFERENCE.csv").write_text("A00001,N\n")
    old = build(source, tmp_path / "old")
    assert rhythms(old) == {"A00001": "N", "A01000": "N"}
    assert findings(old) == [("validation/A00001", "duplicate_record", "quarantined")]
    (source / "REFERENCE-v3.csv").write_text("A00001,O\nA01000,O\n")
    assert rhythms(build(source, tmp_path / "new")) == {"A00001": "O", "A01000": "O"}
    (tmp_path / "mine.csv").write_text("A00001,A\nA01000,A\n")
    mine = build(source, tmp_path / "given", label_source=str(tmp_path / "mine.csv"))
    assert rhythms(mine) == {"A00001": "A", "A01000": "A"}
    paths = {e["source_record"] for s in mine.info.splits for e in mine.as_data_source(s)}
    assert paths == {b"training/A00/A00001", b"training/A01/A01000"}


def test_recordings_of_another_form_are_left_out(tmp_path):
    source = tmp_path / "source"
    add(source, "A00001", seconds=61)
    add(source, "A00002", rate=500)
    add(source, "A00003", leads=("ECG", "ECG"))
    add(source, "A00004", leads=("II",))
    add(source, "A00005", seconds=1)
    add(source, "A00006")
    (source / "A00006.hea").unlink()
    names = [f"A0000{number}" for number in range(1, 8)]
    (source / "REFERENCE.csv").write_text("".join(f"{name},N\n" for name in (*names, "../B1")))
    made = build(source, tmp_path / "data")
    assert rhythms(made) == {"A00001": "N"}
    problems = ("wrong_rate", "duplicate_lead", "missing_lead", "too_short", "missing_file")
    assert findings(made) == [
        *[
            (name, problem, "quarantined")
            for name, problem in zip(names[1:], problems, strict=False)
        ],
        ("A00007", "missing_file", "quarantined"),
        ("B1", "missing_file", "quarantined"),
    ]


def test_a_missing_table_is_named(tmp_path):
    source = tmp_path / "source"
    add(source, "A00001")
    with refuses("nowhere", "REFERENCE.csv", "--label-source", problem="not_the_source"):
        build(source, tmp_path / "data", label_source=str(tmp_path / "nowhere"))
