"""Paths that a source's own tables name stay inside of the source folder."""

import os
import pathlib
from collections.abc import Iterable

from clef_jax.data.quality import Defect


def locate(
    source: str | os.PathLike[str], relative: str, extensions: Iterable[str] = (".hea", ".dat")
) -> pathlib.Path:
    """The path of a record, with extensions still to be added.

    Raises:
        Defect: it leads out of the source folder, by `..`, as an absolute path or through a link.
    """
    path = pathlib.Path(source, relative)
    root = os.path.realpath(source)
    for extension in extensions:
        real = os.path.realpath(f"{path}{extension}") if "\0" not in relative else ""
        if pathlib.Path(relative).is_absolute() or not real.startswith(root + os.sep):
            detail = f"The path {relative!r} leads out of the source folder; it was not opened."
            raise Defect("path_outside_source", detail)
    return path
