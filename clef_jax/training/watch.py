"""Each process says that it lives, and hears of those that failed or fell silent."""

import contextlib
import threading
import time
from typing import Any, NoReturn

import jax

# The key-value store of the coordinator has no public name; Orbax uses it the same way.
from jax._src import distributed

from clef_jax import errors
from clef_jax.errors import UserError

BEAT_SECONDS = 2.0
"""How often each process says that it lives, and listens for the others."""
SILENCE_SECONDS = 40.0
"""A process that was not heard of for so long is taken for lost."""

AGAIN = "Started again with the same command, all go on from the newest checkpoint."

_FAILED, _BEATS = "clef_jax/failed/", "clef_jax/beats/"
_FINISHED = "finished"


class Watch(threading.Thread):
    """Says that this process lives, and ends it when another one failed or fell silent."""

    def __init__(self):
        super().__init__(name="clef_jax processes", daemon=True)
        # Not by JAX's own functions, which wait for the devices of all processes.
        self._client: Any = distributed.global_state.client
        self._process = distributed.global_state.process_id
        self._finished = threading.Event()
        # Silence is counted in our own turns, so that a machine that slept blames nobody.
        self._turn = self._answered = 0

    def run(self) -> None:
        """Counts the turns; a coordinator that does not answer hangs the talk with it."""
        threading.Thread(target=self._talk, name="clef_jax talk", daemon=True).start()
        while not self._finished.wait(BEAT_SECONDS):
            self._turn += 1
            if self._silent(self._answered):
                end_at_once(UserError(f"Process 0 does not answer any more. {AGAIN}"))

    def _talk(self) -> None:
        """Beats, and looks at the failures and beats of the others."""
        everybody = range(distributed.global_state.num_processes)
        heard: dict[int, tuple[str | None, int]] = dict.fromkeys(everybody, (None, 0))
        while not self._finished.wait(BEAT_SECONDS):
            turn = self._turn
            try:
                self._say(str(turn))
                failures = by_process(self._client, _FAILED)
                beats = by_process(self._client, _BEATS)
            except jax.errors.JaxRuntimeError:
                if not self._finished.is_set():
                    end_at_once(UserError(f"Process 0 does not answer any more. {AGAIN}"))
                return
            self._answered = turn
            for process, reason in failures.items():
                if process != self._process:
                    end_at_once(UserError(f"Process {process} failed: {reason}"))
            for process in everybody:
                beat = beats.get(process)
                if beat != heard[process][0]:
                    heard[process] = beat, turn
                if beat != _FINISHED and self._silent(heard[process][1]):
                    end_at_once(UserError(_lost(process)))

    def _silent(self, since_turn: int) -> bool:
        return (self._turn - since_turn) * BEAT_SECONDS > SILENCE_SECONDS

    def tell_failure(self, reason: str) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._client.key_value_set(f"{_FAILED}{self._process}", reason, allow_overwrite=True)
            if self._process == 0:  # which keeps what the others are about to read
                time.sleep(2 * BEAT_SECONDS)

    def finish(self) -> None:
        self._finished.set()
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._say(_FINISHED)

    def _say(self, beat: str) -> None:
        self._client.key_value_set(f"{_BEATS}{self._process}", beat, allow_overwrite=True)


def _lost(process: int) -> str:
    return (
        f"Process {process} was not heard of for {SILENCE_SECONDS:g} s: it was killed, or its host "
        f"is gone or cut off. {AGAIN}"
    )


def by_process(client: Any, prefix: str) -> dict[int, str]:
    """What the processes wrote under a prefix, by process."""
    entries = client.key_value_dir_get(prefix)
    return {int(key.rpartition("/")[2]): value for key, value in entries}


def end_at_once(error: UserError | None) -> NoReturn:
    """Tells an error and ends this process, whatever its threads are doing."""
    if error is not None:
        errors.print_error(error)
    errors.exit_at_once()
