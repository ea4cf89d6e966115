"""Collects what is wrong with single recordings of a file, so that one does not hide the others."""

import contextlib
from collections.abc import Iterator

from clef_jax.errors import UserError
from clef_jax.finding import Defect, catch_failures


class Failures:
    """Recordings of a file that cannot be read. `report` raises a defect that counts them."""

    def __init__(self, where: str):
        """Args: where: name of the file in the message."""
        self._where = where
        self._first: tuple[str, Defect] | None = None
        self._num_failed = 0

    @contextlib.contextmanager
    def catch(self, name: str) -> Iterator[None]:
        """Notes the failure of a block that opens one recording.

        Args:
            name: name of the recording in the message.
        """
        try:
            with catch_failures(name):
                yield
        except UserError as error:  # a package is not installed
            self.add(name, Defect(error.problem or "unreadable", str(error)))
        except Defect as defect:
            self.add(name, defect)

    def add(self, name: str, defect: Defect) -> None:
        """Notes a recording that cannot be read."""
        # A copy, because the traceback of the original keeps what its reader has opened.
        self._first = self._first or (name, Defect(defect.problem, defect.detail))
        self._num_failed += 1

    def report(self, num_read: int) -> None:
        """Raises a defect with the code of the first failure if there was any.

        Args:
            num_read: number of recordings that were read.

        Raises:
            Defect: a recording could not be read; the message says how many and why the first.
        """
        if self._first is None:
            return
        name, defect = self._first
        if self._num_failed == 1 and not num_read:
            detail = f"{self._where}, {name}: {defect.detail}"
        else:
            detail = (
                f"{self._num_failed:,} of {self._num_failed + num_read:,} recordings in "
                f"{self._where} could not be read. The first is {name}: {defect.detail}"
            )
        raise Defect(defect.problem, detail)
