"""Tests that a file or folder is replaced completely or not at all."""

import os
import pathlib

import pytest
from culprits import refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above

from clef_jax import files
from clef_jax.finding import Defect


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "note.txt"
    with files.atomic_file(path) as half:
        half.write_text("half")
        assert not path.exists()
        half.write_text("whole")
    assert path.read_text() == "whole"
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "note.txt"
    files.write_text(path, "before")

    def fail():
        with files.atomic_file(path) as half:
            half.write_text("after")
            raise RuntimeError("stopped")

    with refuses("stopped", error=RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_file(tmp_path / "note.txt"):
        pass


def test_a_private_file_gets_the_rights_of_any_new_one(tmp_path):
    private, usual = tmp_path / "a", tmp_path / "b"
    private.touch(mode=0o600)
    usual.touch()
    files.apply_umask(private)
    assert private.stat().st_mode == usual.stat().st_mode


def test_lines_that_a_kill_cut_short_are_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert files.read_json_lines(path) == []
    path.write_text('{"step": 1}\n{"ste\n{"step": 2}\n{"st')
    assert files.read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_any_text_gives_a_name():
    assert files.slug("NVIDIA H100 80GB HBM3, 8 of them.") == "nvidia_h100_80gb_hbm3_8_of_them"


def test_bytes_are_written_as_they_are(tmp_path):
    files.write_bytes(tmp_path / "data", b"\x00\r\n\xff")
    assert (tmp_path / "data").read_bytes() == b"\x00\r\n\xff"
    assert [item.name for item in tmp_path.iterdir()] == ["data"]


def test_a_folder_appears_when_it_is_complete_and_replaces_what_was_there(tmp_path):
    folder = tmp_path / "new" / "folder"
    for content in ("first", "second"):
        with files.atomic_folder(folder) as half:
            assert not list(half.iterdir())
            (half / "sub").mkdir()
            (half / "sub" / content).write_text(content)
        assert [item.name for item in (folder / "sub").iterdir()] == [content]
    assert [item.name for item in folder.parent.iterdir()] == ["folder"]


def test_a_failure_leaves_the_folder_that_was_there(tmp_path):
    folder, leftover = tmp_path / "folder", tmp_path / ".folder.half"
    folder.mkdir()
    leftover.mkdir()  # of a program that was killed
    (folder / "note.txt").write_text("before")
    (leftover / "note.txt").write_text("killed")

    def fail():
        with files.atomic_folder(folder) as half:
            assert not list(half.iterdir())
            (half / "note.txt").write_text("after")
            raise RuntimeError("stopped")

    with refuses("stopped", error=RuntimeError):
        fail()
    assert (folder / "note.txt").read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]


def made_by_us(path):
    return path.read_text() == "ours"


def test_an_output_that_is_not_ours_is_refused_unless_it_may_be_overwritten(tmp_path):
    path = tmp_path / "out.txt"
    files.check_output(path, made_by_us)
    path.write_text("ours")
    files.check_output(path, made_by_us)
    path.write_text("theirs")
    with refuses(path, "--out", "--overwrite", problem="foreign_file"):
        files.check_output(path, made_by_us)
    files.check_output(path, made_by_us, overwrite=True)
    assert path.read_text() == "theirs"


def test_nothing_but_a_file_is_replaced(tmp_path):
    def never(path):
        raise AssertionError(f"{path} was opened")

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for overwrite in (False, True):
        with refuses(tmp_path, problem="is_a_folder"):
            files.check_output(tmp_path, never, overwrite=overwrite)
        with refuses(pipe, problem="not_a_file"):
            files.check_output(pipe, never, overwrite=overwrite)


def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("a file is no folder")
    with refuses(tmp_path / "file", problem="out_unwritable"):
        files.check_output(tmp_path / "file" / "new" / "out.txt", made_by_us)
    with refuses("--json", "/proc", problem="out_unwritable"):
        files.check_output(pathlib.Path("/proc/out.txt"), made_by_us, option="--json")
    files.check_output(tmp_path / "new" / "folder" / "out.txt", made_by_us)
    files.check_output_folder(tmp_path / "new" / "folder")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_new_folder_has_no_name_of_a_file(tmp_path):
    for name in ("x.zip", "X.ZIP", "model.onnx"):
        with refuses(name, problem="file_name"):
            files.check_output_folder(tmp_path / name)
    (tmp_path / "old.zip").mkdir()
    for name in ("old.zip", "model-v1.5", "ecg.small"):
        files.check_output_folder(tmp_path / name)
    (tmp_path / "file").touch()
    with refuses(tmp_path / "file", problem="is_a_file"):
        files.check_output_folder(tmp_path / "file")


def test_the_names_in_a_file_and_its_start_tell_what_it_is(tmp_path):
    path = tmp_path / "x.json"
    for text, want in (
        ('{"a": 1, "b": 2}', True),
        ('{"a": 1}', False),
        ("[1]", False),
        ("{", False),
    ):
        path.write_text(text)
        assert files.is_json_with(path, ("a", "b")) == want
    assert files.starts_with(path, "{")
    assert not files.starts_with(path, "{{")
    assert not files.starts_with(tmp_path / "nothing", "")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
        ("+1 mV", "'+1 mV"),
        ("\tx", "'\tx"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("aVR", "aVR"),
        ("", ""),
    ],
)
def test_no_spreadsheet_runs_a_text(text, want):
    assert files.spreadsheet_text(text) == want


def test_pipes_and_devices_are_special_and_files_are_not(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    special = {name: files.is_special(tmp_path / name) for name in ("pipe", "link", "file", "none")}
    assert special == {"pipe": True, "link": True, "file": False, "none": False}
    assert files.is_special(pathlib.Path("/dev/null"))
    assert not files.is_special(tmp_path)


def fill_the_disk(half):
    half.write_bytes(b"x" * 200)


@pytest.mark.faults
@pytest.mark.parametrize("before", [None, "before"])
def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, before, fault_log):
    path = tmp_path / "note.txt"
    if before:
        files.write_text(path, before)
    at_first = user_bytes(tmp_path)
    with no_file_above(100), refuses(path, problem="not_written"), files.atomic_file(path) as half:
        fill_the_disk(half)
    assert [item.read_text() for item in tmp_path.iterdir()] == ([before] if before else [])
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))


@pytest.mark.faults
def test_a_full_disk_leaves_no_half_folder(tmp_path, fault_log):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "before").touch()
    at_first = user_bytes(tmp_path)
    with (
        no_file_above(100),
        refuses(path, problem="not_written"),
        files.atomic_folder(path) as half,
    ):
        fill_the_disk(half / "file")
    assert [item.name for item in path.iterdir()] == ["before"]
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))


def test_a_folder_that_vanished_is_told(tmp_path):
    path = tmp_path / "folder" / "note.txt"
    path.parent.mkdir()
    with refuses(path, path.parent, problem="not_written"), files.atomic_file(path):
        path.parent.rmdir()
    with refuses(path, path.parent, problem="not_written"):
        files.write_text(path, "x")


def test_a_folder_that_must_not_be_written_is_told(tmp_path, monkeypatch):
    def refuse(*arguments, **_):
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    path = tmp_path / "note.txt"
    monkeypatch.setattr(files.os, "replace", refuse)
    with refuses(path, "Permission denied", problem="not_written"):
        files.write_text(path, "x")
    (tmp_path / "file").touch()
    for below in (tmp_path / "file" / "note.txt", tmp_path / "file" / "folder"):
        with refuses(below, problem="not_written"):
            files.write_text(below, "x")
    with refuses(tmp_path / "file" / "folder", problem="out_unwritable"):
        files.make_folder(tmp_path / "file" / "folder")


def test_an_error_of_another_file_stays_as_it_is(tmp_path):
    """A block may read what it writes from other files."""
    other = tmp_path / "input.txt"
    with refuses(other, error=FileNotFoundError), files.atomic_file(tmp_path / "note.txt"):
        other.read_text()


def test_texts_are_utf_8_whatever_the_locale(tmp_path):
    files.write_text(tmp_path / "note.txt", "µV")
    assert (tmp_path / "note.txt").read_bytes() == b"\xc2\xb5V"


@pytest.mark.parametrize("extension", [".hea", ".dat"])
def test_a_pipe_in_a_source_folder_is_not_located(extension, tmp_path):
    for name in (".hea", ".dat"):
        (tmp_path / f"r{name}").touch()
    assert files.locate(tmp_path, "r") == tmp_path / "r"
    (tmp_path / f"r{extension}").unlink()
    os.mkfifo(tmp_path / f"r{extension}")
    with refuses(f"r{extension}", error=Defect, problem="not_a_file"):
        files.locate(tmp_path, "r")
