"""Writes scalars for TensorBoard; an error of the disk ends these curves but not the run."""

import pathlib
import time
from typing import Any

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from clef_jax import files

FLUSH_SECONDS = 30.0

_proto: Any = event_pb2  # type checkers do not know what it makes


class TensorBoard:
    """Writes scalars to a new file of events.

    The usual writer of tensorboardX leaves this to a thread, which an error of the disk ends; the
    program would then wait for the thread forever.
    """

    def __init__(self, folder: pathlib.Path, first_step: int):
        """Opens a file in `folder`, which replaces earlier scalars from `first_step` on.

        Raises:
            UserError: the file cannot be opened.
        """
        files.make_folder(folder)
        self.error: OSError | None = None
        """The error after which nothing more was written."""
        self._flushed = time.monotonic()
        with files.writing(folder):
            self._events = event_file_writer.EventsWriter(str(folder / "events"))
            start = _proto.SessionLog(status=_proto.SessionLog.START)
            for event in (
                _proto.Event(step=first_step, file_version="brain.Event:2"),
                _proto.Event(step=first_step, session_log=start),
            ):
                self._events.write_event(event)
            self._events.flush()

    def add(self, step: int, values: dict[str, float]) -> None:
        """Writes the scalars of a step."""
        if self.error is not None:
            return
        try:
            for name, value in values.items():
                scalar = summary.scalar(name, value)
                event = _proto.Event(step=step, summary=scalar, wall_time=time.time())
                self._events.write_event(event)
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._events.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            self.error = error

    def close(self) -> None:
        """Ends the file."""
        try:
            self._events.close()
        except OSError as error:
            self.error = self.error or error
