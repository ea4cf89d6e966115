"""Programs that are forked from a process with all imports; see fork_server.py."""

import atexit
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import processes

AVAILABLE = hasattr(os, "pidfd_open")
"""Whether this system can watch a forked process, as Linux can."""


class Server:
    """A process that has run some imports, and forks programs."""

    def __init__(self, imports: str):
        self._folder = tempfile.TemporaryDirectory(prefix="fork_server")
        self._path = str(pathlib.Path(self._folder.name) / "socket")
        program = str(pathlib.Path(__file__).with_name("fork_server.py"))
        self._process = subprocess.Popen(
            [sys.executable, program, self._path, imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the server; programs that it forked go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def start(self, code: str, arguments: list[str], environment: dict[str, str]) -> "Forked":
        """Starts a program, whose output and errors are one stream, as `processes.start` does."""
        read, write = os.pipe()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        request = {"code": code, "arguments": arguments, "environment": environment}
        message = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [message], [write])
        connection.sendall(message[sent:])
        os.close(write)
        answers = connection.makefile()
        process = Forked(
            int(answers.readline()), os.fdopen(read, encoding="utf-8"), connection, answers
        )
        processes.keep(process)
        return process


class Forked:
    """A forked program, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, stdout: Any, connection: socket.socket, answers: Any):
        self.pid, self.stdout, self.returncode = pid, stdout, None
        self._connection, self._answers, self._output = connection, answers, []
        self._ended = threading.Thread(target=self._await_end, daemon=True)
        self._ended.start()

    def _await_end(self) -> None:
        self.returncode = int(self._answers.readline())
        self._answers.close()
        self._connection.close()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._ended.join(timeout)
        if self._ended.is_alive():
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        begin = time.monotonic()
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        reader.join(timeout)
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begin))
        if reader.is_alive():
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self.wait(left)
        return "".join(self._output), None

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # closed meanwhile
            self._output.append(self.stdout.read())

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_) -> None:
        self.wait()
        self.stdout.close()
