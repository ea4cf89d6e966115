"""Reads recordings in common file formats. A format is one module of this package that defines
`FORMAT`, a `Format`; nothing lists them.

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
import pathlib
from collections.abc import Iterator

from clef_jax.finding import Defect
from clef_jax.formats._find import Survey, find
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.formats._registry import find_format, load, suffixes
from clef_jax.signal.unit import UNITS, millivolts

__all__ = [
    "UNITS",
    "Format",
    "Hints",
    "Note",
    "Opened",
    "Survey",
    "find",
    "find_format",
    "load",
    "millivolts",
    "open",
    "suffixes",
]


def open(path: pathlib.Path, hints: Hints | None = None) -> Iterator[Opened]:
    """The recordings of a file, one after the other; what is wrong is raised when it is reached.

    Args:
        path: a file, or a WFDB record without suffix.
        hints: what the file does not say itself.

    Raises:
        Defect: the file is missing or broken, or says too little.
        UserError: a package is missing that reads this format.
    """
    header = path.with_name(f"{path.name}.hea")
    if not path.exists() and header.is_file():
        path = header
    try:
        if not path.is_file():
            raise Defect("missing_file", f"There is no file {path.name}.")
        if path.stat().st_size == 0:
            raise Defect("empty", f"The file {path.name} is empty.")
        form = find_format(path)
        if form is None:
            known = ", ".join(suffix for suffix in suffixes() if suffix)
            detail = f"{path.name} is no recording that can be read here; known are {known}."
            raise Defect("unknown_format", detail)
        for opened in form.open(path, hints or Hints()):
            if opened.num_samples < 1 or not opened.lead_names:
                raise Defect("empty", f"{path.name} holds no samples.")
            name = f"{path.name}#{opened.part}" if opened.part else path.name
            yield dataclasses.replace(opened, name=name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Defect("unreadable", f"{path.name} cannot be read: {reason}.") from None
