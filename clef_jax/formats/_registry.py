"""All formats, found by scanning the folder."""

import functools
import importlib
import pathlib
import pkgutil

from clef_jax.errors import UserError
from clef_jax.formats._recording import Format

_PACKAGE = __name__.rpartition(".")[0]
_FOLDER = str(pathlib.Path(__file__).parent)


@functools.cache
def load() -> dict[str, Format]:
    """Every format by its module's name, sorted.

    Raises:
        UserError: a module defines no format.
    """
    found = {}
    for module in sorted(module.name for module in pkgutil.iter_modules([_FOLDER])):
        if module.startswith("_"):
            continue
        form = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), "FORMAT", None)
        if not isinstance(form, Format):
            raise UserError(
                f"The module {module} of clef_jax.formats defines no FORMAT of type "
                "clef_jax.formats.Format. Define it, or begin the module's name with an underscore."
            )
        found[module] = form
    return found


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
