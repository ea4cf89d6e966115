"""Suppresses what Orbax and TensorStore print about failures that `checkpoint` reports itself."""

import functools
import inspect
import logging
import sys
from typing import Any


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Returns whether a log record is no traceback of Orbax, whose errors `checkpoint` reports."""
    return not (record.exc_info and "orbax" in record.pathname)


def _is_not_of_a_task_of_orbax(record: logging.LogRecord) -> bool:
    """Returns whether a log record of asyncio is about no task that Orbax gave up."""
    traceback = record.exc_info and record.exc_info[2]
    return not (traceback and "orbax" in traceback.tb_frame.f_code.co_filename)


def silence_tracebacks() -> None:
    """Keeps Orbax's tracebacks out of the log; a further call has no effect."""
    logging.getLogger("absl").addFilter(_is_not_of_orbax)
    logging.getLogger("asyncio").addFilter(_is_not_of_a_task_of_orbax)


def _is_abandoned_work(unraisable: Any) -> bool:
    """Returns whether Orbax or TensorStore reports work that it gave up after an earlier error."""
    error, of = unraisable.exc_value, unraisable.object
    if isinstance(error, RuntimeError) and str(error) == "Event loop is closed":
        return of is None
    # Python reports a coroutine here only if it removes one that nobody awaits any more.
    return inspect.iscoroutine(of) and "orbax" in of.cr_code.co_filename


@functools.cache
def silence_abandoned_work() -> None:
    """Suppresses what is printed about the other files of a save or a restoration that failed.

    Orbax closes its event loop at the first file that cannot be written or read, while others are
    being written or read. TensorStore's threads report each write, and Python reports each read
    when it removes its coroutine, to `sys.unraisablehook`; `checkpoint` reports the first one. The
    hook stays until the process ends, because the threads may live as long.
    """
    print_unraisable = sys.unraisablehook

    def print_others(unraisable: Any) -> None:
        if not _is_abandoned_work(unraisable):
            print_unraisable(unraisable)

    sys.unraisablehook = print_others
