"""A file appears whole or not at all."""

import pytest
from culprits import refuses

from clef_jax import files


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "note.txt"
    with files.appearing(path) as half:
        half.write_text("half")
        assert not path.exists()
        half.write_text("whole")
    assert path.read_text() == "whole"
    assert [one.name for one in tmp_path.iterdir()] == ["note.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "note.txt"
    files.write_text(path, "before")

    def fail():
        with files.appearing(path) as half:
            half.write_text("after")
            raise RuntimeError("stopped")

    with refuses("stopped", error=RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["note.txt"]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.appearing(tmp_path / "note.txt"):
        pass


def test_a_private_file_gets_the_rights_of_any_new_one(tmp_path):
    private, usual = tmp_path / "a", tmp_path / "b"
    private.touch(mode=0o600)
    usual.touch()
    files.share(private)
    assert private.stat().st_mode == usual.stat().st_mode


def test_lines_that_a_kill_cut_short_are_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert files.read_json_lines(path) == []
    path.write_text('{"step": 1}\n{"ste\n{"step": 2}\n{"st')
    assert files.read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_any_text_gives_a_name():
    assert files.name_of("NVIDIA H100 80GB HBM3, 8 of them.") == "nvidia_h100_80gb_hbm3_8_of_them"


def test_bytes_are_written_as_they_are(tmp_path):
    files.write_bytes(tmp_path / "data", b"\x00\r\n\xff")
    assert (tmp_path / "data").read_bytes() == b"\x00\r\n\xff"
    assert [item.name for item in tmp_path.iterdir()] == ["data"]


def test_a_folder_appears_when_it_is_complete_and_replaces_what_was_there(tmp_path):
    folder = tmp_path / "new" / "folder"
    for content in ("first", "second"):
        with files.appearing_folder(folder) as half:
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
        with files.appearing_folder(folder) as half:
            assert not list(half.iterdir())
            (half / "note.txt").write_text("after")
            raise RuntimeError("stopped")

    with refuses("stopped", error=RuntimeError):
        fail()
    assert (folder / "note.txt").read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]
