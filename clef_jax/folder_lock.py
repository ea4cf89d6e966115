"""Lets one program at a time write to a folder, on any number of hosts that share it.

The lock is a file with the host, the process and the start of its owner, who renews a heartbeat in
it; where the file system supports it, the owner also holds `flock` on the file. The lock of a dead
process is taken over: at once if it ran on this host, else when its heartbeat is old, because a
preempted program returns on a host of another name.
"""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from clef_jax import files, lock_owner
from clef_jax.errors import UserError, print_note
from clef_jax.lock_owner import Owner

BEAT_SECONDS = 15.0
"""Time between two heartbeats of an owner."""
SILENCE_SECONDS = 60.0
"""Age of the last heartbeat after which the owner on another host counts as dead."""

_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 0.5
"""Time in which two programs that replace a lock without flock notice each other."""


class InUseError(UserError):
    """Another program uses the folder."""

    def __init__(self, folder: pathlib.Path, owner: Owner | None):
        self.owner_text = "another program" if owner is None else str(owner)
        super().__init__(
            f"{folder} is in use by {self.owner_text}; wait for it to end, or stop it.",
            problem="in_use",
        )


class LostError(UserError):
    """The folder no longer belongs to this program."""

    def __init__(self, path: pathlib.Path, owner: Owner | None):
        self.cause = (
            f"{path.parent} was taken over by {owner}"
            if owner
            else f"{path.parent} was moved or deleted, or its file {path.name} was deleted"
        )
        problem = "taken_over" if owner else "moved"
        super().__init__(f"{self.cause}, while this process used it.", problem=problem)


class FolderLock:
    """Owns a folder within a `with` block. The file of the lock disappears at its end."""

    def __init__(
        self,
        path: pathlib.Path,
        *,
        beat_seconds: float = BEAT_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        report: Callable[[str], None] = print_note,
    ):
        """Prepares the lock, without taking it.

        Args:
            path: file of the lock, in the folder that it protects.
            beat_seconds: time between two heartbeats.
            silence_seconds: age of the last heartbeat after which an owner on another host counts
                as dead; at least three times `beat_seconds`.
            report: receives a sentence when the program waits for another host's heartbeat, and
                when it takes the folder over; by default it is printed on standard error.
        """
        self.path = path
        self.exclusive = False
        """Whether flock protects the folder too, also from versions that know no other lock."""
        self._beat_seconds, self._silence_seconds = beat_seconds, silence_seconds
        self._report = report
        self._token = secrets.token_hex(8)
        self._start = lock_owner.now()
        self._stream: IO[bytes] | None = None
        self._finished = threading.Event()

    def __enter__(self) -> "FolderLock":
        """Takes the folder, which is created if it does not exist.

        Raises:
            InUseError: another program uses the folder.
            UserError: the lock cannot be written, or its name is not that of a file.
        """
        files.make_folder(self.path.parent)
        if files.is_other_than_a_file(self.path):
            raise UserError(
                f"{self.path} is a folder, a pipe or a device, but programs that use "
                f"{self.path.parent} need a file of this name; move it elsewhere.",
                problem="not_a_file",
            )
        with files.writing(self.path):
            self._take()
        threading.Thread(target=self._renew, name="clef_jax heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._finished.set()
        with contextlib.suppress(OSError):
            if self.is_ours():
                self.path.unlink()
        self._close()

    def check(self) -> None:
        """Raises LostError unless the folder is where it was and still belongs to this program."""
        with files.writing(self.path):
            if self.is_ours():
                return
            time.sleep(_SETTLE_SECONDS)  # network file systems may show an old state for a moment
            if not self.is_ours():
                raise LostError(self.path, _read(self.path))

    def _take(self) -> None:
        dead, guarded = None, True
        while not self._create():
            owner = _read(self.path)
            if owner is None and not self.path.exists():
                continue  # its owner has just ended
            self._refuse_living(owner)
            guarded = self._remove(owner) and guarded
            dead = owner or dead
        if not guarded:
            time.sleep(_SETTLE_SECONDS)
            if not self.is_ours():
                self._close()
                raise InUseError(self.path.parent, _read(self.path))
        if dead is not None:
            self._report(f"{self.path.parent} was taken over: {dead} ended without releasing it.")

    def _create(self) -> bool:
        """Creates the file; returns False if it exists."""
        try:
            stream = self.path.open("xb", buffering=0)
        except FileExistsError:
            return False
        self._stream = stream
        try:
            locked = None
            for _ in range(10):  # another program may be testing the lock
                if (locked := _try_flock(stream)) is not False:
                    break
                time.sleep(_SETTLE_SECONDS / 10)
            self._write()
        except OSError:
            self._close()
            self.path.unlink()
            raise
        self.exclusive = bool(locked)
        ours = self.is_ours()  # a program that saw it without content may have removed it
        if not ours:
            self._close()
        return ours

    def _refuse_living(self, owner: Owner | None) -> None:
        """Raises InUseError if the owner is alive; may wait for its next heartbeat."""
        if owner is None:  # of a version without heartbeats, or without content yet
            time.sleep(_SETTLE_SECONDS)
            locked, owner = self._flock(), _read(self.path)
            if locked and owner is None:
                return
            if locked is False:
                raise InUseError(self.path.parent, owner)
        elif (owner.host, owner.machine) == (socket.gethostname(), lock_owner.machine()):
            runs = lock_owner.runs(owner)
            # Without its start, a process may be another one that has got the owner's number.
            if runs is False or (owner.process_start is None and self._flock()):
                return
            if runs:
                raise InUseError(self.path.parent, owner)
        self._await_silence(owner)

    def _await_silence(self, owner: Owner | None) -> None:
        """Returns when the heartbeat is too old, or the file is gone.

        Raises:
            InUseError: the heartbeat was renewed.
        """
        try:
            first = self.path.stat().st_mtime_ns
            with tempfile.NamedTemporaryFile(dir=self.path.parent) as probe:  # the server's clock
                age_seconds = (os.fstat(probe.fileno()).st_mtime_ns - first) / 1e9
            left_seconds = self._silence_seconds - max(0.0, age_seconds)
            if left_seconds > _POLL_SECONDS:
                self._report(
                    f"{self.path.parent} was last used by {owner or 'another program'}. Waiting up "
                    f"to {left_seconds:.0f} s for its heartbeat."
                )
            deadline = time.monotonic() + left_seconds
            while time.monotonic() < deadline:
                time.sleep(min(_POLL_SECONDS, self._beat_seconds))
                if self.path.stat().st_mtime_ns != first or _read(self.path) != owner:
                    raise InUseError(self.path.parent, _read(self.path))
        except FileNotFoundError:
            return

    def _remove(self, owner: Owner | None) -> bool:
        """Removes the file of a dead owner, unless another program has replaced it already.

        Returns:
            Whether flock kept other programs from doing the same at the same time.
        """
        try:
            with self.path.open("r+b") as stream:
                locked = _try_flock(stream)
                if locked is False:  # another program is about to replace the file, or a server
                    time.sleep(_SETTLE_SECONDS)  # does not know yet that the owner is dead
                same_file = os.path.samestat(os.fstat(stream.fileno()), self.path.stat())
                if same_file and _token(_read(self.path)) == _token(owner):
                    self.path.unlink()
                return bool(locked)
        except FileNotFoundError:
            return True

    def _flock(self) -> bool | None:
        """Returns whether flock on the file is free; None if the system does not support it."""
        try:
            with self.path.open("r+b") as stream:
                return _try_flock(stream)
        except FileNotFoundError:
            return True

    def _renew(self) -> None:
        while not self._finished.wait(self._beat_seconds):
            # `check` reports the loss of the folder, and the program its full disk.
            with contextlib.suppress(OSError, ValueError):
                if self.is_ours():
                    self._write()

    def is_ours(self) -> bool:
        """Returns whether the folder is where it was and belongs to this program."""
        return _token(_read(self.path)) == self._token

    def _write(self) -> None:
        """Writes the file in place, always with the same length."""
        assert self._stream is not None
        owner = Owner(
            host=socket.gethostname(),
            process=os.getpid(),
            start=self._start,
            machine=lock_owner.machine(),
            process_start=lock_owner.process_start(os.getpid()),
            token=self._token,
            heartbeat=lock_owner.now(),
        )
        data = (json.dumps(dataclasses.asdict(owner)) + "\n").encode()
        self._stream.seek(0)
        if self._stream.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._stream.fileno())  # other hosts see it only then

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _token(owner: Owner | None) -> str | None:
    return None if owner is None else owner.token


def _read(path: pathlib.Path) -> Owner | None:
    """Returns the owner that a file names; None if there is no file or it names none."""
    for _ in range(3):
        try:
            return Owner(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            time.sleep(0.05)  # it may be about to be written
    return None


def _try_flock(stream: IO[Any]) -> bool | None:
    """Locks an open file; returns False if another process holds it, None without support."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
