"""Ends a run that hangs, and logs what it was doing."""

import faulthandler
import pathlib
import threading
import types

import jax

from clef_jax import errors
from clef_jax.errors import UserError

STACKS_FILE = "stalled_process_{}.txt"
"""File in the workdir with the stack traces of process `{}` when the watchdog ended it."""

_CHECK_SECONDS = 1.0


class Watchdog:
    """Ends the process when an activity takes longer than a limit.

    A thread that hangs in disk access or in a collective with other machines cannot be interrupted,
    so the watchdog's own thread prints the error and ends the process.
    """

    def __init__(self, limit_seconds: float, workdir: pathlib.Path):
        """`limit_seconds`: longest time of an activity in seconds; 0 sets no limit."""
        self._limit_seconds = limit_seconds
        self._path = workdir / STACKS_FILE.format(jax.process_index())
        self._lock = threading.Lock()
        self._doing: str | None = None
        self._seconds = 0.0
        self._finished = threading.Event()

    def doing(self, what: str | None) -> None:
        """Starts timing an activity, such as `waiting for a batch`; None has no time limit."""
        with self._lock:
            self._doing, self._seconds = what, 0.0

    def __enter__(self) -> "Watchdog":
        if self._limit_seconds:
            threading.Thread(target=self._watch, name="clef_jax watchdog", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._finished.set()

    def _watch(self) -> None:
        # Checks are counted rather than a clock read: a suspended host is not a run that hangs.
        while not self._finished.wait(_CHECK_SECONDS):
            with self._lock:
                self._seconds += _CHECK_SECONDS
                late = self._doing if self._seconds > self._limit_seconds else None
            if late is not None and not self._finished.is_set():
                self._end(late)

    def _end(self, what: str) -> None:
        stacks = f"The stack traces of its threads are in {self._path}."
        try:
            with self._path.open("w") as file:
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError:  # it may be the disk that hangs or is full
            faulthandler.dump_traceback(all_threads=True)
            stacks = "The stack traces of its threads are above."
        errors.print_error(
            UserError(
                f"The run made no progress for {self._limit_seconds:g} s while {what}. {stacks} If "
                "started again, the run resumes from its newest checkpoint; a larger "
                "--stall-timeout-seconds allows more time."
            )
        )
        errors.exit_at_once()
