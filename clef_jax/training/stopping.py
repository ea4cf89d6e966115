"""Hears requests to stop a run: SIGTERM, and Ctrl-C, which saves at first and then ends at once."""

import os
import signal
import socket
import threading
from typing import Any

import jax

from clef_jax import errors

_MAX_PRINT_SECONDS = 5
"""Longest time that a message may take, for example on a terminal that is stopped."""


class StopSignal:
    """Records SIGTERM and Ctrl-C, so that the loop can stop after the current step.

    With several processes, JAX handles SIGTERM and stops all of them at the same step; Ctrl-C is
    passed on to it. A second Ctrl-C ends this process without saving, whatever it is doing.
    """

    received = False

    def __init__(self):
        self._before: dict[int, Any] = {}
        self._wakeup: socket.socket | None = None
        self._num_interrupts = 0

    def __enter__(self) -> "StopSignal":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is not threading.main_thread():
            return self
        if jax.process_count() == 1:
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._receive)
        # A program in the background of a shell ignores Ctrl-C, and should continue to.
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._receive_interrupt)
            self._hear_at_once()
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._wakeup.close()
            # The thread may still have to print what it heard.
            self._thread.join(timeout=_MAX_PRINT_SECONDS)

    def _receive(self, *_) -> None:
        self.received = True

    def _receive_interrupt(self, *_) -> None:
        if jax.process_count() == 1:
            self.received = True
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def _hear_at_once(self) -> None:
        """Counts signals in a thread: a handler has to wait while the main thread compiles."""
        heard, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(
            target=self._count, args=[heard], name="clef_jax Ctrl-C", daemon=True
        )
        self._thread.start()

    def _count(self, heard: socket.socket) -> None:
        with heard:
            while numbers := heard.recv(1):
                if numbers[0] != signal.SIGINT:
                    continue
                self._num_interrupts += 1
                if self._num_interrupts > 1:
                    errors.print_note("Ended by a second Ctrl-C, without saving.")
                    errors.exit_at_once(errors.INTERRUPTED)
                errors.print_note(
                    "Ctrl-C: the run saves after this step and ends. A second Ctrl-C ends it at "
                    "once, without saving."
                )
