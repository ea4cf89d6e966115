"""The owner of a folder as its lock names it, and whether that program still runs."""

import contextlib
import dataclasses
import datetime
import functools
import os
import pathlib


@dataclasses.dataclass(frozen=True)
class Owner:
    """A program that owns a folder, or did so until it died."""

    host: str
    process: int
    start: str
    """When it took the folder, in UTC."""
    machine: str
    """Distinguishes hosts of one name, restarts of one host, and containers on one host."""
    process_start: str | None
    """Distinguishes processes of one number; None where the system does not state it."""
    token: str
    """Random text that distinguishes all owners."""
    heartbeat: str
    """When the owner last renewed its heartbeat, in UTC."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} (since {self.start})"


def now() -> str:
    """Returns the time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="seconds")


@functools.cache
def machine() -> str:
    """Returns a text that equals that of another process only if its number has a meaning here."""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def runs(owner: Owner) -> bool | None:
    """Returns whether the process of an owner on this host runs; None if that is unknown."""
    if os.name == "nt":  # there, signal 0 would end the process
        return None
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's process
    start = process_start(owner.process)
    return None in (start, owner.process_start) or start == owner.process_start


def process_start(process: int) -> str | None:
    """Returns when a process started; `ended` if it only waits to be collected by its parent."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # from the third field on
    return "ended" if fields[0] in "ZX" else fields[19]
