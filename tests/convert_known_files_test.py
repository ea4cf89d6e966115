"""Published files are recognised by their MD5; other files with their names cause a warning."""

import hashlib

import pytest
from culprits import assert_names, refuses

from clef_jax.convert import known_files

PUBLISHED = {
    "clef_small.ckpt": ("small", "de76ebbf"),
    "clef_medium.ckpt": ("medium", "781eed16"),
    "clef_largel.ckpt": ("large", "07c494e8"),
}


@pytest.fixture
def published(monkeypatch):
    """A file of ours that stands for the published medium encoder."""
    content = b"weights"
    start = hashlib.md5(content).hexdigest()[:8]
    files = [
        known_files.Published(one.name, one.size, start if one.size == "medium" else one.md5_start)
        for one in known_files.PUBLISHED
    ]
    monkeypatch.setattr(known_files, "PUBLISHED", tuple(files))
    return content


def test_the_three_published_files_are_listed():
    assert {p.name: (p.size, p.md5_start) for p in known_files.PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("name", ["clef_medium.ckpt", "renamed.ckpt", "clef_small.ckpt"])
def test_a_published_file_is_known_by_its_content(tmp_path, published, name):
    path = tmp_path / name
    path.write_bytes(published)
    known = known_files.recognise(path)
    assert known is not None
    assert (known.is_published, known.published.size) == (True, "medium")
    assert "MD5 starts with" in known.note
    assert ("published as clef_medium.ckpt" in known.note) == (name != "clef_medium.ckpt")


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name, (size, _) in PUBLISHED.items()), ("clef_large.ckpt", "large")],
)
def test_other_content_under_a_published_name_is_warned_of(tmp_path, name, size):
    path = tmp_path / name
    path.write_bytes(b"other weights")
    known = known_files.recognise(path)
    assert known is not None
    assert (known.is_published, known.published.size) == (False, size)
    assert_names(known.note, hashlib.md5(b"other weights").hexdigest()[:8])


def test_any_other_file_is_not_known(tmp_path):
    path = tmp_path / "mine.ckpt"
    path.write_bytes(b"weights")
    assert known_files.recognise(path) is None


def test_a_missing_file_is_named(tmp_path):
    with refuses(tmp_path / "clef_small.ckpt", problem="unreadable"):
        known_files.recognise(tmp_path / "clef_small.ckpt")
