"""Sends heartbeats between the processes of a run, and ends all of them when one fails."""

import contextlib
import threading
import time
from typing import NoReturn

from clef_jax import errors
from clef_jax.errors import UserError
from clef_jax.training import coordinator as coordinator_lib

BEAT_SECONDS = 2.0
"""Time between two heartbeats of a process."""
SILENCE_SECONDS = 40.0
"""Time without a heartbeat after which a process counts as lost."""

RESTART = "If started again with the same command, all resume from the newest checkpoint."

_FAILED, _BEATS = "clef_jax/failed/", "clef_jax/beats/"
_FINISHED = "finished"


class Watch(threading.Thread):
    """Sends this process's heartbeats, and ends it when another process fails or is lost."""

    def __init__(self):
        super().__init__(name="clef_jax processes", daemon=True)
        self._coordinator = coordinator_lib.current()
        self._finished = threading.Event()
        # Silence is counted in our own heartbeats, so that a suspended host does not report its
        # peers as lost.
        self._beat = self._answered = 0

    def run(self) -> None:
        """Counts heartbeats, in a thread that no call to the coordinator can block."""
        threading.Thread(target=self._communicate, name="clef_jax heartbeats", daemon=True).start()
        while not self._finished.wait(BEAT_SECONDS):
            self._beat += 1
            if self._silent(self._answered):
                end_at_once(UserError(f"Process 0 no longer answers. {RESTART}"))

    def _communicate(self) -> None:
        """Sends heartbeats, and checks the failures and heartbeats of the others."""
        coordinator = self._coordinator
        # The last heartbeat of each process, and our own count when it arrived.
        last: dict[int, tuple[str | None, int]] = dict.fromkeys(coordinator.processes, (None, 0))
        while not self._finished.wait(BEAT_SECONDS):
            now = self._beat
            try:
                self._send(str(now))
                failures, beats = coordinator.read_all(_FAILED), coordinator.read_all(_BEATS)
            except coordinator_lib.Unavailable:
                if not self._finished.is_set():
                    end_at_once(UserError(f"Process 0 no longer answers. {RESTART}"))
                return
            self._answered = now
            for process, reason in failures.items():
                if process != coordinator.process:
                    end_at_once(UserError(f"Process {process} failed: {reason}"))
            for process in coordinator.processes:
                beat = beats.get(process)
                if beat != last[process][0]:
                    last[process] = beat, now
                if beat != _FINISHED and self._silent(last[process][1]):
                    end_at_once(UserError(_lost(process)))

    def _silent(self, since_beat: int) -> bool:
        return (self._beat - since_beat) * BEAT_SECONDS > SILENCE_SECONDS

    def report_failure(self, reason: str) -> None:
        """Sends the reason of this process's failure to the others, which then end too."""
        with contextlib.suppress(coordinator_lib.Unavailable):
            self._coordinator.write(_FAILED, reason, overwrite=True)
            if self._coordinator.process == 0:  # it serves the reason to the others
                time.sleep(2 * BEAT_SECONDS)

    def finish(self) -> None:
        """Stops the heartbeats without the others reporting this process as lost."""
        self._finished.set()
        with contextlib.suppress(coordinator_lib.Unavailable):
            self._send(_FINISHED)

    def _send(self, beat: str) -> None:
        self._coordinator.write(_BEATS, beat, overwrite=True)


def _lost(process: int) -> str:
    return (
        f"Process {process} sent no heartbeat for {SILENCE_SECONDS:g} s: it was killed, or its "
        f"host failed or lost its network. {RESTART}"
    )


def end_at_once(error: UserError | None) -> NoReturn:
    """Prints an error, if given, and ends this process without waiting for its threads."""
    if error is not None:
        errors.print_error(error)
    errors.exit_at_once()
