"""Addresses of models on a hub are read, or refused by name."""

import pathlib

import pytest
from culprits import refuses

from clef_jax.errors import WrongArgument
from clef_jax.hub import address

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "repository", "revision", "is_pinned"),
    [
        ("hf:org/name", "org/name", "main", False),
        ("hf:Org-1/name_2.x@v1.0", "Org-1/name_2.x", "v1.0", False),
        ("hf:org/name@refs/pr/3", "org/name", "refs/pr/3", False),
        (f"hf:org/name@{COMMIT}", "org/name", COMMIT, True),
        (f"hf:org/name@{COMMIT[:12]}", "org/name", COMMIT[:12], False),
    ],
)
def test_an_address_names_repository_and_revision(text, repository, revision, is_pinned):
    assert address.is_address(text)
    assert address.is_address(pathlib.Path(text))
    found = address.parse(text)
    assert found == address.Address(repository, revision)
    assert found.is_pinned == is_pinned
    assert address.parse(str(found)) == found


def test_a_path_is_no_address():
    assert not address.is_address("org/name")
    assert not address.is_address(pathlib.Path("models/hf:x"))


@pytest.mark.parametrize(
    "text",
    [
        *("hf:", "hf:name", "hf:a/b/c", "hf:/name", "hf:org/", "hf:../name", "hf:org/a--b"),
        *("hf:org/.x", "hf:org/x-", "hf:org/na me", "hf:org/n" + "a" * 96, "hf:örg/name"),
    ],
)
def test_what_is_no_name_is_refused(text):
    with refuses(text, error=WrongArgument, problem="wrong_repository"):
        address.parse(text)


@pytest.mark.parametrize("text", ["hf:org/name@", "hf:org/name@a b", "hf:org/name@../x"])
def test_what_is_no_revision_is_refused(text):
    with refuses(text, error=WrongArgument, problem="wrong_revision"):
        address.parse(text)
