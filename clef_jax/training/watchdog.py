"""Ends a run that hangs, and says in what."""

import faulthandler
import pathlib
import threading
import types

import jax

from clef_jax import errors
from clef_jax.errors import UserError

STACKS_FILE = "stalled_process_{}.txt"
"""What every thread was doing when process so-and-so was ended; in the workdir."""

_TURN_SECONDS = 1.0


class Watchdog:
    """Ends the process when one thing takes longer than a limit.

    The thread that hangs, in a disk or in an exchange with other machines, cannot be woken, so this
    one prints the sentence and ends the process for it.
    """

    def __init__(self, limit_seconds: float, workdir: pathlib.Path):
        """`limit_seconds`: 0 never ends anything."""
        self._limit_seconds = limit_seconds
        self._path = workdir / STACKS_FILE.format(jax.process_index())
        self._lock = threading.Lock()
        self._doing: str | None = None
        self._seconds = 0.0
        self._finished = threading.Event()

    def doing(self, what: str | None) -> None:
        """Begins something, as `waiting for a batch`; None is nothing that has a limit."""
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
        # Turns are counted, not a clock read: a machine that slept is not a run that hangs.
        while not self._finished.wait(_TURN_SECONDS):
            with self._lock:
                self._seconds += _TURN_SECONDS
                late = self._doing if self._seconds > self._limit_seconds else None
            if late is not None and not self._finished.is_set():
                self._end(late)

    def _end(self, what: str) -> None:
        with self._path.open("w") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        errors.print_error(
            UserError(
                f"Nothing moved for {self._limit_seconds:g} s while {what}. What each thread was "
                f"doing is in {self._path}. Started again, the run goes on from its newest "
                "checkpoint; --stall-timeout-seconds allows more."
            )
        )
        errors.exit_at_once()
