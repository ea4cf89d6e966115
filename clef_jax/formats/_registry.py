"""Finds the formats, and the format of a file."""

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
    """The formats of every suffix, in lower case; the empty one is of files without."""
    every = sorted({suffix for form in load().values() for suffix in form.suffixes})
    return {s: tuple(form for form in load().values() if s in form.suffixes) for s in every}


def find_format(path: pathlib.Path) -> Format | None:
    """The format that a file means to be in, by its suffix and its beginning; None if in none.

    Raises:
        OSError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix[1:].isdigit():  # part of a number that is the file's name, as in DICOM
        suffix = ""
    return next((form for form in suffixes().get(suffix, ()) if form.looks_like(path)), None)
