"""Addresses of models on a hub, `hf:ORG/NAME@REVISION`; reading them needs no network."""

import dataclasses
import pathlib
import re

from clef_jax.errors import WrongArgument

PREFIX = "hf:"
"""Prefix of an address; nothing without it is requested from a hub."""
DEFAULT_REVISION = "main"
"""Revision of an address that names none."""

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Address:
    """A model on a hub."""

    repository: str
    """`ORG/NAME`."""
    revision: str = DEFAULT_REVISION
    """A commit, or a branch or tag, which may move to another commit."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}@{self.revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a complete commit, so that the model never changes."""
        return _COMMIT.fullmatch(self.revision) is not None


def is_address(path: str | pathlib.Path) -> bool:
    """Returns whether a path is the address of a model on a hub."""
    return str(path).startswith(PREFIX)


def parse(text: str | pathlib.Path) -> Address:
    """Returns the address that a text names.

    Raises:
        WrongArgument: the text is no address.
    """
    repository, at, revision = str(text).removeprefix(PREFIX).partition("@")
    check_repository(repository, f"{PREFIX}ORG/NAME@REVISION", str(text))
    if not at:
        return Address(repository)
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise WrongArgument(
            f"{str(text)!r} must name a commit, a branch or a tag after the @, such as "
            f"{PREFIX}{repository}@{DEFAULT_REVISION}.",
            problem="wrong_revision",
        )
    return Address(repository, revision)


def check_repository(name: str, form: str = "ORG/NAME", text: str | None = None) -> None:
    """Raises WrongArgument unless a text can be the name of a repository.

    Args:
        name: the name.
        form: what the user should write, for the message.
        text: what the user wrote; by default the name.
    """
    parts = name.split("/")
    if len(parts) != 2 or not all(map(_is_name, parts)):
        raise WrongArgument(
            f"{text or name!r} must have the form {form}; names have letters, digits, '-', '_' and "
            "'.', at most 96.",
            problem="wrong_repository",
        )


def _is_name(part: str) -> bool:
    doubled = "--" in part or ".." in part
    return bool(_NAME.fullmatch(part)) and not doubled and part[-1] not in ".-"
