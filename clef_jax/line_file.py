"""Appends lines to a file such that a full disk leaves complete lines only."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from clef_jax import files


class LineFile:
    """Appends lines to a text file; a line that the disk has no space for is removed again."""

    def __init__(self, path: pathlib.Path, consequence: str = ""):
        """Opens the file, and ends a last line that a kill cut short.

        Args:
            path: the file.
            consequence: what an error of writing means for the user, and what to do.

        Raises:
            UserError: the file cannot be opened.
        """
        self._path, self._consequence = path, consequence
        with self._errors():
            self._file = path.open("ab+", buffering=0)
            size = self._file.seek(0, os.SEEK_END)
            if size:
                self._file.seek(size - 1)
                if self._file.read(1) != b"\n":
                    self._write(b"\n")

    def append(self, line: str) -> None:
        """Appends a line.

        Raises:
            UserError: the line cannot be written.
        """
        with self._errors():
            self._write(line.encode() + b"\n")

    def close(self) -> None:
        with self._errors():
            self._file.close()

    def _write(self, data: bytes) -> None:
        size = self._file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = f". {self._consequence}".rstrip()
            raise files.not_written(self._path, error, advice) from error
