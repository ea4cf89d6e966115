"""Recognises weights that CLEF's authors published on Zenodo, by MD5 and by name.

Only the first eight digits of each MD5 are known. They distinguish a complete file from a damaged
or replaced one. They do not prove who made it, so it is opened as carefully as any other file.
Nothing is ever downloaded.
"""

import dataclasses
import hashlib
import pathlib

from clef_jax.errors import UserError

MD5_DIGITS = 8


@dataclasses.dataclass(frozen=True)
class Published:
    """File that CLEF's authors published."""

    name: str
    size: str
    """Size of the encoder."""
    md5_start: str
    """First digits of the file's MD5."""


PUBLISHED = (
    Published("clef_small.ckpt", "small", "de76ebbf"),
    Published("clef_medium.ckpt", "medium", "781eed16"),
    Published("clef_largel.ckpt", "large", "07c494e8"),  # the published spelling
)
_OTHER_SPELLINGS = {"clef_large.ckpt": "clef_largel.ckpt"}


@dataclasses.dataclass(frozen=True)
class Known:
    """Result for a file that is a published one, or has the name of one."""

    published: Published
    is_published: bool
    """Whether the MD5 starts like that of the published file."""
    note: str
    """Sentence for the user; a warning if `is_published` is false."""


def recognise(path: str | pathlib.Path) -> Known | None:
    """Recognises a published file; returns None if neither MD5 nor name match one.

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
            # MD5 is what Zenodo lists; it is not used for security.
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
        f"file: its MD5 starts with {md5_start}, not with {published.md5_start}. It is damaged, or "
        "holds other weights."
    )
