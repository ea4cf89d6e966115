"""Reads recordings in common file formats. Each module of this package that defines `FORMAT`, a
`Format`, is a format; no list of them exists.

```
for path in formats.find(folder):
    for recording in formats.open(path, formats.Hints(sample_rate_hz=500)):
        window = recording.read(0, 5000)  # float32 [leads, 5000] millivolts
```

Another package adds such a module by an entry point in its `pyproject.toml`:

```
[project.entry-points."clef_jax.formats"]
my_format = "my_package.my_format"
```

Modules with a leading underscore hold code that several formats share.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from clef_jax import files
from clef_jax.finding import Defect, catch_failures
from clef_jax.formats import _registry
from clef_jax.formats._find import NO_SUFFIX, SPECIAL, Survey, find
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient
from clef_jax.formats._registry import find_format, load, suffixes
from clef_jax.signal.unit import UNITS, millivolts
from clef_jax.wfdb import header as wfdb_header

__all__ = [
    "NO_SUFFIX",
    "SPECIAL",
    "UNITS",
    "Format",
    "Hints",
    "Note",
    "Opened",
    "Patient",
    "Survey",
    "find",
    "find_format",
    "load",
    "millivolts",
    "open",
    "suffixes",
]


def open(path: str | pathlib.Path, hints: Hints | None = None) -> Iterator[Opened]:
    """Yields the recordings of a file. A file with a defect yields those before it, then raises.

    Args:
        path: a file, or a WFDB record without suffix.
        hints: values for what the file does not state; by default none.

    Raises:
        Defect: the file is missing, malformed or truncated, or does not state what is needed; or
            its reader failed in any other way.
        UserError: the package that reads this format is not installed.
    """
    path = pathlib.Path(path)
    with catch_failures(path.name):
        header = wfdb_header.find(path.with_name(f"{path.name}.hea"))
        if not path.exists() and header.is_file():
            path = header
        for opened in _format(path).open(path, hints or Hints()):
            if opened.num_samples < 1 or not opened.lead_names:
                raise Defect("empty", f"{path.name} holds no samples.")
            name = f"{path.name}#{opened.part}" if opened.part else path.name
            read = functools.partial(_read, opened.read, name)
            yield dataclasses.replace(opened, name=name, read=read)


def _format(path: pathlib.Path) -> Format:
    """Returns the format of a file; raises Defect if the file is of no use."""
    if files.is_special(path):
        detail = f"{path.name} is a pipe, a socket or a device; it was not opened."
        raise Defect("not_a_file", detail)
    if not path.is_file():
        raise Defect("missing_file", f"The file {path.name} does not exist.")
    if path.stat().st_size == 0:
        raise Defect("empty", f"The file {path.name} is empty.")
    file_format = find_format(path)
    if file_format is not None:
        return file_format
    suffix = _registry.suffix(path)
    if own := suffixes().get(suffix, ()):
        named = " or ".join(candidate.name for candidate in own)
        ends = f"ends in {suffix}" if suffix else "has no suffix"
        detail = (
            f"{path.name} is not a recording that can be read: it {ends}, as files of the kind "
            f"{named} do, but it holds no recording of this kind."
        )
    else:
        known = ", ".join(suffix for suffix in suffixes() if suffix)
        detail = f"{path.name} is not a recording in a known format ({known})."
    raise Defect("unknown_format", detail)


def _read(
    read: Callable[[int, int], np.ndarray], name: str, start: int, num_samples: int
) -> np.ndarray:
    """Reads a window; any error becomes a `Defect`."""
    with catch_failures(name):
        return read(start, num_samples)
