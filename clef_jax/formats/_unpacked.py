"""Unpacks compressed data into temporary folders, with bounds on what becomes of it.

The bounds hold for what is written, whatever the file states.
"""

import dataclasses
import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Opened

PIECE_BYTES = 1 << 20
BEGINNING_BYTES = 3 << 20
"""Size of the beginning from which the format of a file is inferred."""
ARCHIVES = (".gz", ".xz", ".bz2", ".zip", ".tgz", ".7z", ".rar", ".zst")
"""Suffixes of files that hold other files, and are not accepted in each other."""
_MOST_BYTES = {".xml": 256 << 20, ".json": 256 << 20}
_MOST_BYTES |= dict.fromkeys((".csv", ".tsv", ".txt"), 2 << 30)
"""Largest sizes that the readers of these files accept, which keep them in memory."""
_CHECKED_BYTES = 64 << 20
_SPARE_BYTES = 256 << 20
"""Free space that is left to others on the disk of the temporary files."""


class Folder:
    """A temporary folder that is removed when nothing refers to this object any more."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="clef_jax_"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process has a copy of the object, but not of the folder
        shutil.rmtree(path, ignore_errors=True)


class Budget:
    """Bounds the size of unpacked data by that of its packed form."""

    def __init__(self, what: str, stored_bytes: int, *, total: "Budget | None" = None):
        """Args:
        what: name of the data in messages.
        stored_bytes: size of the packed form.
        total: budget of the archive that the data is part of; by default none.
        """
        self.what, self.stored_bytes, self.total = what, stored_bytes, total
        self.num_bytes, self.most_bytes = 0, _recording.MAX_BYTES

    def spend(self, num_bytes: int) -> None:
        """Raises a defect if the data becomes implausibly large."""
        self.num_bytes += num_bytes
        _recording.check_size(self.num_bytes, self.stored_bytes, self.what)
        if self.num_bytes > self.most_bytes:
            detail = f"{self.what} becomes over {self.most_bytes:,} bytes, too many for its format."
            raise Defect("too_large", detail)
        if self.total is not None:
            self.total.spend_share(num_bytes)

    def spend_share(self, num_bytes: int) -> None:
        """Counts data of one file of many, whose sum is bounded by the ratio alone."""
        self.num_bytes += num_bytes
        most = max(_recording.SMALL_BYTES, _recording.MAX_RATIO * self.stored_bytes)
        if self.num_bytes > most:
            detail = f"{self.what} was not unpacked further: it becomes over {most:,} bytes."
            raise Defect("too_large", detail)


def write(pieces: Iterable[bytes], path: Path, budget: Budget) -> None:
    """Writes unpacked data to a file.

    Raises:
        Defect: the data becomes too large, or the disk of the temporary files is full.
    """
    unchecked = _CHECKED_BYTES
    budget.most_bytes = _MOST_BYTES.get(path.suffix.lower(), budget.most_bytes)
    with path.open("wb") as stream:
        for piece in pieces:
            budget.spend(len(piece))
            unchecked += len(piece)
            if unchecked >= _CHECKED_BYTES:
                unchecked = 0
                if shutil.disk_usage(path.parent).free < _SPARE_BYTES:
                    raise _full(budget.what)
            stream.write(piece)


def write_beginning(pieces: Iterable[bytes], path: Path) -> None:
    """Writes the beginning of unpacked data to a file."""
    missing = BEGINNING_BYTES
    with path.open("wb") as stream:
        for piece in pieces:
            stream.write(piece[:missing])
            missing -= len(piece)
            if missing <= 0:
                return


def _full(what: str) -> Defect:
    detail = (
        f"{what} was not unpacked, because the folder of temporary files has too little space; "
        "make room, or name another folder with TMPDIR."
    )
    return Defect("no_space", detail)


def kept(opened: Opened, folder: Folder, part: str | None = None) -> Opened:
    """Returns a recording that keeps the folder of its file as long as it exists.

    Args:
        part: name of the recording; by default its own.
    """
    read = functools.partial(_read, folder, opened)
    part = opened.part if part is None else part
    return dataclasses.replace(opened, read=read, part=part)


def _read(folder: Folder, opened: Opened, start: int, num_samples: int) -> np.ndarray:
    assert folder.path
    return opened.read(start, num_samples)
