"""Finds all formats, and the format of a file."""

import functools
import pathlib

from clef_jax import plugin
from clef_jax.formats._recording import Format

_KIND = plugin.Kind(label="format", package="clef_jax.formats", attribute="FORMAT", expected=Format)


@functools.cache
def load() -> dict[str, Format]:
    """Returns every format by its module's name, sorted.

    Raises:
        UserError: a module defines no format, or two modules have the same name.
    """
    return _KIND.load()


@functools.cache
def suffixes() -> dict[str, tuple[Format, ...]]:
    """Returns the formats of each suffix, in lower case; an empty one stands for no suffix."""
    formats = load().values()
    every = sorted({suffix for file_format in formats for suffix in file_format.suffixes})
    return {s: tuple(f for f in formats if s in f.suffixes) for s in every}


def suffix(path: pathlib.PurePath) -> str:
    """Returns a file's suffix in lower case; none if it ends a number that is the file's name, as
    in DICOM.
    """
    own = path.suffix.lower()
    return "" if own[1:].isdigit() else own


def find_format(path: pathlib.Path) -> Format | None:
    """Returns the format of a file by its suffix and its beginning; None if it has no format.

    Raises:
        OSError: the file cannot be read.
    """
    return next((f for f in suffixes().get(suffix(path), ()) if f.looks_like(path)), None)
