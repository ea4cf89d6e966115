"""Tables of labels with mistakes: each is handled by name, and nothing is dropped in silence."""

import numpy as np
import pytest
from culprits import assert_names, refuses

from clef_jax import csv_file
from clef_jax.data import index as index_lib
from clef_jax.fitting import labels as labels_lib, matching, seen
from clef_jax.fitting.labels import Choice
from clef_jax.fitting.matching import Assigned

RECORDINGS = tuple(f"a/r{number}.npy" for number in range(8))


def read(tmp_path, content, **choice):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return labels_lib.interpret(csv_file.read(path), Choice(**choice))


def column(*values, name="y"):
    lines = (f"r{number},{value}" for number, value in enumerate(values))
    return "\n".join([f"record,{name}", *lines])


def problems(labels):
    return [note.problem for note in labels.notes if note.problem != "no_patient_column"]


YES = (1, 0, 1, 0)

REFUSED = {
    "empty": ("", "empty_labels"),
    "blank lines": ("\n \n\n", "empty_labels"),
    "delimiters only": ("|", "empty_labels"),
    "nothing known": (column("none", "unknown", "None"), "blank_column"),
    "names only": ("record,y\n", "no_rows"),
    "one column": ("record\nr0\nr1\n", "one_column"),
    "no header": ("r0,1\nr1,0\nr2,1\n", "no_header"),
    "no header, words": ("r0,N\nr1,A\nr2,N\n", "no_header"),
    "no id column": ("name,y\nr0,1\nr1,0\n", "no_id_column"),
    "no label column": ("record,patient\nr0,p\nr1,q\n", "no_label_column"),
    "repeated column": ("record,y,y\nr0,1,1\nr1,0,0\n", "repeated_column"),
    "more cells than names": ("record,y\nr0,1\nr1,0,7\n", "more_cells_than_names"),
    "open quote": ('record,y\nr0,1\nr1,"0\n', "malformed_csv"),
    "Excel": (b"PK\x03\x04rest", "not_csv"),
    "Parquet": (b"PAR1rest", "not_csv"),
    "UTF-16 without mark": ("record,y\nr0,1\n".encode("utf-16-le"), "not_csv"),
    "one class": (column(1, 1, 1, 1), "one_class"),
    "constant number": (column(7, 7, 7), "one_class"),
    "constant text": (column("AF", "AF"), "one_class"),
    "blank column": (column("", "NaN", "n/a"), "blank_column"),
    "mixed": (column("120", "130", "high", "125 mmHg"), "mixed_values"),
    "dates": (column("2020-01-02", "2021-03-04", "03.05.2022"), "dates"),
    "formula": (column("=B2>3", "1", "0"), "formula"),
    "failed formula": (column("#REF!", "1", "0"), "formula"),
    "infinite": (column("1.5", "inf", "2.5"), "not_finite"),
    "two numbers": (column(1, 2, 1, 2), "two_numbers"),
    "thousands": (column('"1,200"', '"1,300"', '"1,400"'), "ambiguous_comma"),
    "commas and points": (column('"1,25"', "1.5", '"2,75"'), "ambiguous_comma"),
    "free text": (column(*(f"text {n}" for n in range(150))), "too_many_classes"),
    "a total": (column(1, 0, 1, 0) + "\nTotal,2\n", "almost_binary"),
    "units": (column("120 mmHg", "131 mmHg", "99.5 mmHg"), "numbers_with_unit"),
    "percent": (column("10%", "20 %", "35%"), "numbers_with_unit"),
    "endless cell": (column(1, 0, "x" * 200_000), "malformed_csv"),
    "kinds": ("record,af,age\nr0,1,60.5\nr1,0,70.5\nr2,1,50.1\n", "mixed_kinds"),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_cannot_be_used_is_refused_by_name(tmp_path, content, problem):
    with refuses(problem=problem):
        read(tmp_path, content)


def test_numbers_that_are_names_may_have_units(tmp_path):
    labels = read(tmp_path, column("1st", "2nd", "3rd"))
    assert labels.outputs == ("1st", "2nd", "3rd")
    labels = read(tmp_path, column("5 mg", "10 mg", "20 mg"), classes=("y",))
    assert labels.kind == "multiclass"


def test_unknown_columns_are_refused_with_the_nearest(tmp_path):
    content = "record,rhythm\nr0,1\nr1,0\n"
    with refuses("rythm", "rhythm", problem="unknown_column"):
        read(tmp_path, content, targets=("rythm",))
    with refuses("--patient-column", problem="unknown_column"):
        read(tmp_path, content, patient_column="subject")
    with refuses("record", problem="target_is_id"):
        read(tmp_path, content, targets=("record",))
    with refuses("AF", problem="unknown_class"):
        read(tmp_path, content, positive={"rhythm": ("AF",)})


@pytest.mark.parametrize(
    "content",
    [
        "record;y\nr0;1\nr1;0\n",
        "record\ty\nr0\t1\nr1\t0\n",
        "\ufeffrecord,y\r\nr0,1\r\nr1,0\r\n",
        "record,y\nr0,1\nr1,0\n".encode("utf-16"),
        "record , y \n r0 , yes \nr1, No \n",
        "Record,y\nr0,TRUE\n\nr1,False\n",
        ",record,y\n0,r0,1\n1,r1,0\n",
        'record,y\n"r0","1"\n"r1","0"\n',
    ],
)
def test_harmless_variants_give_the_same_labels(tmp_path, content):
    labels = read(tmp_path, content)
    assert labels.ids == ("r0", "r1")
    assert labels.kind == "binary"
    assert labels.target.tolist() == [[1], [0]]


def test_windows_1252_is_read_and_noted(tmp_path):
    labels = read(tmp_path, "record,größe\nr0,1\nr1,0\n".encode("cp1252"))
    assert labels.outputs == ("größe",)
    assert problems(labels) == ["assumed_encoding"]


def test_blanks_are_missing_and_counted(tmp_path):
    labels = read(tmp_path, column("1", "", "NaN", "0", "n/a"))
    assert np.isnan(labels.target[:, 0]).tolist() == [False, True, True, False, True]
    assert problems(labels) == ["missing_labels"]


def test_decimal_commas_are_numbers(tmp_path):
    labels = read(tmp_path, "record;y\nr0;1,5\nr1;2\nr2;3,25\n")
    assert labels.kind == "regression"
    assert labels.target[:, 0].tolist() == [1.5, 2, 3.25]
    assert "decimal_commas" in problems(labels)


def test_what_the_report_says_quotes_no_cell(tmp_path):
    labels = read(tmp_path, "record;bmi;remark\nr0;21,75;9\nr1;31,5;obese\nr2;25;8\n")
    for note in labels.notes:
        for cell in ("21,75", "31,5", "obese"):
            assert cell not in (note.public or note.detail)
    assert any("obese" in note.detail for note in labels.notes)


def test_age_and_sex_of_the_table_are_known(tmp_path):
    content = "record,age,sex,af\nr0,64,M,1\nr1,,female,0\nr2,300,?,0\n"
    labels = read(tmp_path, content, targets=("af",))
    np.testing.assert_array_equal(labels.age_years, [64, np.nan, np.nan])
    np.testing.assert_array_equal(labels.male, [1, 0, np.nan])


def test_spellings_of_yes_and_no_may_be_mixed_with_a_note(tmp_path):
    labels = read(tmp_path, column("yes", "0", "TRUE", "no"))
    assert labels.target[:, 0].tolist() == [1, 0, 1, 0]
    assert problems(labels) == ["mixed_spellings"]


def test_words_are_classes_and_their_spellings_are_merged(tmp_path):
    labels = read(tmp_path, column("AF", "Normal", "normal ", "other"))
    assert labels.kind == "multiclass"
    assert labels.outputs == ("AF", "Normal", "other")
    assert labels.target.argmax(axis=1).tolist() == [0, 1, 1, 2]
    assert problems(labels) == ["merged_classes"]


def test_one_class_against_the_rest(tmp_path):
    labels = read(tmp_path, column("A", "N", "O", "A"), positive={"y": ("A",)})
    assert labels.kind == "binary"
    assert labels.target[:, 0].tolist() == [1, 0, 0, 1]
    coded = read(tmp_path, column(1, 2, 3, 1), classes=("y",))
    assert coded.kind == "multiclass"
    assert coded.outputs == ("1", "2", "3")


def test_several_columns_and_those_that_are_left_out(tmp_path):
    content = (
        "id,af,stemi,day,same\nr0,1,0,2020-01-01,1\nr1,0,1,2020-01-02,1\nr2,1,1,2020-01-03,1\n"
    )
    labels = read(tmp_path, content)
    assert labels.kind == "multilabel"
    assert labels.columns == ("af", "stemi")
    assert problems(labels) == ["dates", "one_class"]
    with refuses("day", problem="dates"):
        read(tmp_path, content, targets=("af", "day"))


def test_without_patients_a_note_says_what_that_does(tmp_path):
    labels = read(tmp_path, column(*YES))
    assert [note.problem for note in labels.notes] == ["no_patient_column"]


def assigned(tmp_path, content, recordings=RECORDINGS, root=None):
    labels = read(tmp_path, content)
    return labels, matching.assign(labels, matching.Index(recordings, root))


@pytest.mark.parametrize(
    "name", ["a/r0.npy", "a/r0", "r0.npy", "r0", "a\\r0.npy", "./a/r0", "/data/in/a/r0.npy"]
)
def test_a_recording_is_named_in_several_ways(tmp_path, name):
    index = matching.Index(RECORDINGS, root=tmp_path.__class__("/data/in"))
    assert index.find(name) == {"a/r0.npy"}


def test_names_of_signal_files_parts_and_shared_names():
    index = matching.Index(["A1.hea", "z.zip#b/s1.mat", "p/x.npy", "q/x.npy", "0007.npy"])
    assert index.find("A1.mat") == {"A1.hea"}
    assert index.find("s1") == {"z.zip#b/s1.mat"}
    assert index.find("x") == {"p/x.npy", "q/x.npy"}
    assert index.find("p/x") == {"p/x.npy"}
    assert not index.find("7")
    assert "0007" in index.hint("7.0")


def test_every_row_and_recording_is_accounted_for(tmp_path):
    rows = ("r0,p,1", "r0,p,1", "r1,p,0", "r1,p,1", "nowhere,q,1", ",q,1", "r2,q,", "r3,,0")
    content = "\n".join(["record,patient,y", *rows, "r4,q,0"])
    _, rows = assigned(tmp_path, content)
    assert [row.problem for row in rows] == [
        *("", "repeated_row", "contradictory_rows", "contradictory_rows"),
        *("no_recording", "missing_id", "missing_label", "missing_patient", ""),
    ]
    others = matching.without_row(RECORDINGS, rows)
    assert [row.recording for row in others] == ["a/r5.npy", "a/r6.npy", "a/r7.npy"]
    assert all(row.detail for row in [*rows, *others] if not row.used)


def test_several_recordings_of_a_name_are_not_guessed(tmp_path):
    _, rows = assigned(tmp_path, "record,y\nx,1\np/y,0\n", ("p/x.npy", "q/x.npy", "p/y.npy"))
    assert [row.problem for row in rows] == ["several_recordings", ""]


def test_a_table_of_other_recordings_is_refused(tmp_path):
    with refuses("b0", problem="no_match"):
        assigned(tmp_path, "record,y\nb0,1\nb1,0\n")


def test_patients_with_several_labels_are_noted(tmp_path):
    labels, rows = assigned(tmp_path, "record,patient,y\nr0,p,1\nr1,p,0\nr2,q,1\nr3,q,1\n")
    assert [note.problem for note in matching.patient_notes(labels, rows)] == [
        "patient_labels_differ"
    ]


def test_recordings_of_the_encoder_s_own_training_are_counted(tmp_path, monkeypatch):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / index_lib.METADATA_FILE).write_text("{}")
    monkeypatch.setattr(seen, "_is_of", lambda folder, name: name == "cinc2017")
    names = ("train/a", "train/b", "test/c")
    rows = [Assigned(line=1, id=name, recording=name) for name in names]
    rows.append(Assigned(line=2, id="d", recording="train/d", problem="missing_label"))
    run = {"model": {"dataset": "cinc2017"}}
    (note,) = seen.notes(run, tmp_path, rows)
    assert_names(note.detail, "2 labelled recordings", "cinc2017")
    assert not seen.notes({"model": {"dataset": "ptb_xl"}}, tmp_path, rows)
    assert not seen.notes(None, tmp_path, rows)
