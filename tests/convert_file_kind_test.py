"""A file that holds no weights is rejected, and the error says what it seems to be."""

import pytest
from culprits import refuses

from clef_jax.convert import file_kind, torch_file

WRONG = {
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web_page"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "git_lfs_pointer",
    ),
    "empty": (b"", "empty"),
    "pickle": (b"\x80\x02}q\x00.", "bare_pickle"),
    "csv": (b"a,b,c\n1,2,3\n", "unknown_kind"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_files_are_described_in_the_error(tmp_path, kind):
    path = tmp_path / "clef_small.ckpt"
    content, problem = WRONG[kind]
    path.write_bytes(content)
    for read in (torch_file.read, torch_file.read_safetensors):
        with refuses(path, problem=problem):
            read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with refuses(tmp_path / "small.ckpt", problem="missing_file"):
        torch_file.read(tmp_path / "small.ckpt")
    with refuses(tmp_path, problem="unreadable"):
        torch_file.read(tmp_path)


def test_names_out_of_files_cannot_control_the_terminal():
    assert file_kind.join_names(["a\x1b[31m", "b", "c"], 2) == r"a\x1b[31m, b and 1 more"
