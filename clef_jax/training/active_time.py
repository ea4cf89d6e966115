"""Measures time in which this process could run, without that in which it was stopped."""

import threading
import time

TICK_SECONDS = 0.5
"""Time between two moments at which a running process notices the time."""
STOPPED_SECONDS = 2.0
"""Shortest time without such a moment that counts as stopped."""


class ActiveTime:
    """A clock that stands still while the process is stopped by SIGSTOP or with its machine."""

    def __init__(self):
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._last = time.perf_counter()
        self.stopped_seconds = 0.0
        """Time in which the process was stopped, since this clock was made."""

    def __enter__(self) -> "ActiveTime":
        threading.Thread(target=self._tick, name="clef_jax clock", daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._finished.set()

    def _tick(self) -> None:
        while not self._finished.wait(TICK_SECONDS):
            self.seconds()

    def seconds(self) -> float:
        """Returns a time in seconds; only differences of two such times mean something."""
        with self._lock:
            now = time.perf_counter()
            gap = now - self._last
            if gap > STOPPED_SECONDS and not self._finished.is_set():
                self.stopped_seconds += gap
            self._last = now
            return now - self.stopped_seconds
