"""The command: what it prints, and how it fails."""

import errno
import json
import os
import resource
import time

import pytest
from culprits import assert_names
from fault_costs import lost_bytes, seconds_to_end, user_bytes
from mimic_tree import Tree

from clef_jax import prepare
from clef_jax.building import shard
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
    begin = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        prepare.main(list(arguments))
    seconds_to_end.append(time.monotonic() - begin)
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
    assert [path.name for path in tmp_path.iterdir()] == ["mimic_iv_ecg"]


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
    is_argument = more[0].startswith(("--dataset", "--score"))  # none of the values that exist
    main(*arguments(source, tmp_path), *more, code=2 if is_argument else 1)
    shown = capsys.readouterr()
    assert_names(shown.err, *culprits)
    assert "Traceback" not in shown.err
    assert not list(tmp_path.rglob("1.0.0"))
    assert not list(tmp_path.rglob("part-*"))


def on_a_full_disk(monkeypatch, number):
    """Makes the shard of this number, from 0, too large for the disk."""
    written = []
    write = shard.write

    def write_on_a_full_disk(task):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        written.append(task)
        if len(written) > number:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
        try:
            return write(task)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    # Python ignores the signal SIGXFSZ, so that a write beyond the limit raises an error.
    monkeypatch.setattr(shard, "write", write_on_a_full_disk)


@pytest.mark.faults
def test_a_full_disk_is_told_and_the_complete_shards_are_kept(
    tmp_path, capsys, monkeypatch, fault_log
):
    source = make_source(tmp_path, patients=40)
    on_a_full_disk(monkeypatch, 1)
    main(*arguments(source, tmp_path), code=1)
    shown = capsys.readouterr()
    folder = tmp_path / "mimic_iv_ecg" / "one_per_patient" / "1.0.0"
    assert_names(shown.err, folder, "part-00001", "File too large", "1 complete shard", "resumes")
    assert "Traceback" not in shown.err
    assert not folder.exists()
    monkeypatch.undo()
    main(*arguments(source, tmp_path))
    assert_names(capsys.readouterr().out, "recordings read 8", "interrupted 32")
    assert not list(folder.parent.glob("unfinished_*"))
    fault_log()


@pytest.mark.faults
def test_a_full_disk_keeps_the_data_set_that_was_to_be_replaced(
    tmp_path, capsys, monkeypatch, fault_log
):
    source = make_source(tmp_path)
    main(*arguments(source, tmp_path))
    folder = index.find(tmp_path, "mimic_iv_ecg")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    at_first = user_bytes(folder)
    on_a_full_disk(monkeypatch, 0)
    main(*arguments(source, tmp_path, "--overwrite"), code=1)
    assert_names(capsys.readouterr().err, folder, "File too large")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]
    fault_log(lost_bytes=lost_bytes(at_first, folder))


def interrupt_at(monkeypatch, number):
    """Makes Ctrl-C arrive while the shard of this number, from 0, is written."""
    written = []
    write = shard.write

    def write_or_stop(task):
        written.append(task)
        if len(written) > number:
            raise KeyboardInterrupt
        return write(task)

    monkeypatch.setattr(shard, "write", write_or_stop)


@pytest.mark.faults
def test_ctrl_c_says_which_command_resumes(tmp_path, capsys, monkeypatch, fault_log):
    source = make_source(tmp_path, patients=40)
    interrupt_at(monkeypatch, 1)
    main(*arguments(source, tmp_path, "--overwrite"), code=1)
    shown = " ".join(capsys.readouterr().err.split())
    assert_names(shown, "1 complete shard", "without --overwrite")
    main(*arguments(source, tmp_path), code=1)
    assert "without --overwrite" not in capsys.readouterr().err
    monkeypatch.undo()
    main(*arguments(source, tmp_path))
    assert_names(capsys.readouterr().out, "recordings read 8", "interrupted 32")
    fault_log()


@pytest.mark.faults
def test_ctrl_c_in_a_replacement_keeps_the_data_set_and_no_shards(
    tmp_path, capsys, monkeypatch, fault_log
):
    source = make_source(tmp_path, patients=40)
    main(*arguments(source, tmp_path))
    folder = index.find(tmp_path, "mimic_iv_ecg")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    at_first = user_bytes(folder)
    interrupt_at(monkeypatch, 1)
    main(*arguments(source, tmp_path, "--overwrite"), code=1)
    assert_names(capsys.readouterr().err, folder, "nothing", "starts again")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]
    fault_log(lost_bytes=lost_bytes(at_first, folder))


@pytest.mark.faults
def test_shards_stay_if_the_index_does_not_fit(source, tmp_path, capsys, monkeypatch, fault_log):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(index, "write", refuse)
    main(*arguments(source, tmp_path), code=1)
    assert_names(capsys.readouterr().err, os.strerror(errno.ENOSPC), "1 complete shard")
    monkeypatch.undo()
    main(*arguments(source, tmp_path))
    assert_names(capsys.readouterr().out, "recordings read 0", "interrupted 12")
    fault_log()


def test_a_place_that_is_no_folder_is_told(source, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    main(*arguments(source, tmp_path / "file"), code=1)
    shown = capsys.readouterr().err
    assert_names(shown, tmp_path / "file" / "mimic_iv_ecg", "Not a directory")
    assert "Traceback" not in shown


def test_prefers_the_best_known_recording_if_asked(source, tmp_path, capsys):
    main(*arguments(source, tmp_path, "--prefer=best_known"))
    shown = capsys.readouterr().out
    assert_names(shown, "12 (100.0 %) earliest", "12 (100.0 %) best_known")
    folder = index.find(tmp_path, "mimic_iv_ecg")
    assert index.load(folder, "train").settings["prefer"] == "best_known"


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
