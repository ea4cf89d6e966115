"""Cores of the processor, divided among programs that run at the same time."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

CAN_BIND = hasattr(os, "sched_setaffinity")
"""Whether the system can bind a process to cores; macOS cannot."""


def own() -> list[int]:
    """Returns the cores that this process may use, or the numbers of all cores."""
    return sorted(os.sched_getaffinity(0)) if CAN_BIND else list(range(os.cpu_count() or 1))


def shares(number: int) -> list[frozenset[int]]:
    """Returns the cores of this process in parts; more parts than cores share the cores."""
    cores = own()
    parts = min(number, len(cores))
    return [frozenset(cores[k % parts :: parts]) for k in range(number)]


def run(command: Sequence[str], cores: Iterable[int], **options: Any) -> int:
    """Runs a program on some cores, as far as the system can, and returns its exit code.

    Args:
        command: program and arguments.
        cores: cores of the program and of all that it starts.
        options: further arguments of `subprocess.Popen`.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            if CAN_BIND:
                # Its threads start later than this, and inherit the cores.
                os.sched_setaffinity(process.pid, cores)
            return process.wait()
        except BaseException:
            process.kill()
            raise
