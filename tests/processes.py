"""Processes that tests start. None outlives its test, even if the test fails."""

import contextlib
import os
import signal
import subprocess

_started: list[subprocess.Popen] = []


def start(command, **settings) -> subprocess.Popen:
    """Starts a command with its output as text, in a process group of its own.

    The command reacts to SIGINT even where the tests run in the background of a shell, which makes
    their own process ignore it: an ignored signal would be inherited, one with a handler is not.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, text=True, start_new_session=True, **settings)
    finally:
        signal.signal(signal.SIGINT, before)
    keep(process)
    return process


def keep(process) -> None:
    """Adds a process to those that end with the test."""
    _started.append(process)


def end_all() -> None:
    """Kills what still runs of the started processes and of their children."""
    while _started:
        process = _started.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process:  # closes its pipes and waits for its end
            pass
