"""The command: what it prints, and how it fails."""

import json

import pytest
from culprits import assert_names
from mimic_tree import Tree

from clef_jax import prepare
from clef_jax.data import index


def make_source(folder, patients=12):
    tree = Tree(folder / "source")
    for number in range(patients):
        tree.add(10_000_000 + number, 40_000_000 + number)
        tree.add_person(10_000_000 + number, "MF"[number % 2], 40 + number)
    (tree.source / f"files/p1000/p{10_000_003}/s40000003/40000003.dat").unlink()
    return tree.write()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("prepare"))


def main(*arguments, code=0):
    if code == 0:
        return prepare.main(list(arguments))
    with pytest.raises(SystemExit) as caught:
        prepare.main(list(arguments))
    assert caught.value.code == code
    return None


def arguments(source, data_dir, *more):
    return (f"--source={source}", f"--data-dir={data_dir}", "--workers=1", *more)


def test_prepares_and_shows_what_it_did(source, tmp_path, capsys):
    main(*arguments(source, tmp_path))
    shown = capsys.readouterr().out
    folder = index.find(tmp_path, "mimic_iv_ecg")
    assert folder == tmp_path / "mimic_iv_ecg" / "one_per_patient" / "1.0.0"
    assert_names(shown, "recordings listed 12", "patients listed 12", "quarantined 1")
    assert_names(shown, "train 11 recordings", "11 patients", "missing_file quarantined 1")
    assert_names(shown, "'validation'", folder / "quality.jsonl", "age_years 12 (100.0 %)")
    assert index.load(folder, "train").num_records == 11
    assert {p.name for p in folder.iterdir()} >= {"quality.jsonl", "clef_index.json"}
    assert not list(folder.glob("part-*"))
    assert not (folder / "scratch").exists()


def test_does_not_repeat_what_is_there(source, tmp_path, capsys):
    main(*arguments(source, tmp_path))
    folder = index.find(tmp_path, "mimic_iv_ecg")
    stamp = (folder / "clef_index.json").stat().st_mtime_ns
    main(*arguments(source, tmp_path))
    assert_names(capsys.readouterr().out, folder, "--overwrite")
    assert (folder / "clef_index.json").stat().st_mtime_ns == stamp
    main(*arguments(source, tmp_path, "--overwrite", "--region=high"))
    assert (folder / "clef_index.json").stat().st_mtime_ns != stamp
    assert index.load(folder, "train").settings["region"] == "high"
    info = json.loads((folder / "metadata.json").read_text())
    assert info["clinical"]["region"] == "high"
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]


def test_overwriting_keeps_the_old_data_if_the_source_is_wrong(source, tmp_path, capsys):
    main(*arguments(source, tmp_path))
    folder = index.find(tmp_path, "mimic_iv_ecg")
    main(*arguments(source / "files", tmp_path, "--overwrite"), code=1)
    assert_names(capsys.readouterr().err, source / "files", "record_list.csv")
    assert index.load(folder, "train").num_records == 11


@pytest.mark.parametrize(
    ("more", "culprits"),
    [
        (
            ("--strict",),
            ("--strict", "files/p1000/p10000003/s40000003/40000003", "missing_file"),
        ),
        (("--dataset=mimic",), ("'mimic'", "mimic_iv_ecg")),
        (("--dataset=mimic_iv_ecg/all",), ("'all'", "all_records")),
        (
            ("--clinical-source=/nowhere",),
            ("/nowhere/hosp or /nowhere", "--clinical-source=none"),
        ),
        (("--score=scor2",), ("'scor2'", "'score2'")),
        (("--source=/nowhere",), ("/nowhere",)),
    ],
)
def test_mistakes_are_named_and_leave_nothing(more, culprits, source, tmp_path, capsys):
    main(*arguments(source, tmp_path), *more, code=1)
    shown = capsys.readouterr()
    assert_names(shown.err, *culprits)
    assert "Traceback" not in shown.err
    assert not list(tmp_path.rglob("1.0.0"))
    assert not list(tmp_path.rglob("part-*"))


def test_workers_are_checked(source, tmp_path, capsys):
    main(*arguments(source, tmp_path), "--workers=0", code=2)
    assert_names(capsys.readouterr().err, "--workers=0", "1")


def test_the_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--source", "--clinical-source", "--workers", "--strict", "--region", "--score"):
        assert flag in shown
    assert "365" in shown
