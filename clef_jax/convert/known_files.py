"""Weights that CLEF's authors published on Zenodo, told by MD5 and by name.

Only the first eight digits of each MD5 are known to us. They tell a whole file from a damaged or an
exchanged one; they prove nothing about who made it, so it is opened as carefully as any other.
Nothing is ever downloaded.
"""

import dataclasses
import hashlib
import pathlib

from clef_jax.errors import UserError

MD5_DIGITS = 8


@dataclasses.dataclass(frozen=True)
class Published:
    """A published file."""

    name: str
    size: str
    """Of the encoder."""
    md5_start: str


PUBLISHED = (
    Published("clef_small.ckpt", "small", "de76ebbf"),
    Published("clef_medium.ckpt", "medium", "781eed16"),
    Published("clef_largel.ckpt", "large", "07c494e8"),  # it is spelled so
)
_OTHER_SPELLINGS = {"clef_large.ckpt": "clef_largel.ckpt"}


@dataclasses.dataclass(frozen=True)
class Known:
    """A file that is a published one, or has the name of one."""

    published: Published
    is_published: bool
    """Whether its MD5 starts as the published file's."""
    note: str
    """A sentence for the user; a warning where `is_published` is false."""


def recognise(path: str | pathlib.Path) -> Known | None:
    """What is known of a file; None of one that resembles no published file.

    Raises:
        UserError: the file cannot be read.
    """
    path = pathlib.Path(path)
    md5_start = _md5(path)[:MD5_DIGITS]
    for published in PUBLISHED:
        if published.md5_start == md5_start:
            return Known(published, True, _confirmation(path, published))
    name = path.name.lower()
    name = _OTHER_SPELLINGS.get(name, name)
    for published in PUBLISHED:
        if published.name == name:
            return Known(published, False, _warning(path, published, md5_start))
    return None


def _md5(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            # Not for security: the MD5 is what the archive lists.
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.", problem="unreadable"
        ) from error


def _confirmation(path: pathlib.Path, published: Published) -> str:
    renamed = "" if path.name == published.name else f", published as {published.name}"
    return (
        f"{path.name} is CLEF's {published.size} encoder{renamed}: its MD5 starts with "
        f"{published.md5_start}."
    )


def _warning(path: pathlib.Path, published: Published, md5_start: str) -> str:
    return (
        f"{path.name} has the name of CLEF's {published.size} encoder, but is not the published "
        f"file: its MD5 starts with {md5_start}, not with {published.md5_start}. It may be "
        "damaged, or other weights under the same name."
    )
