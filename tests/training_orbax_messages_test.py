"""Tests of what Orbax and TensorStore may print."""

import logging
import sys
import types

import pytest

from clef_jax.training import orbax_messages

CLOSED = RuntimeError("Event loop is closed")


@pytest.fixture
def printed(monkeypatch):
    """What is printed, as pairs of error and object."""
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda x: printed.append((x.exc_value, x.object)))
    orbax_messages.silence_abandoned_work.__wrapped__()
    return printed


def report(error, of) -> None:
    sys.unraisablehook(types.SimpleNamespace(exc_value=error, object=of))


def test_only_abandoned_writes_are_silent(printed):
    other = RuntimeError("other")
    report(CLOSED, None)
    report(CLOSED, "a task")
    report(other, None)
    report(None, None)
    assert printed == [(CLOSED, "a task"), (other, None), (None, None)]


def coroutine_of(file: str):
    namespace: dict = {}
    exec(compile("async def read():\n    pass", file, "exec"), namespace)
    return namespace["read"]()


def test_only_abandoned_reads_of_orbax_are_silent(printed):
    error = OSError()
    orbax, other = coroutine_of("site/orbax/read.py"), coroutine_of("site/other/read.py")
    report(error, orbax)
    report(error, other)
    assert printed == [(error, other)]
    orbax.close()
    other.close()


def test_only_tasks_that_orbax_gave_up_are_not_logged(caplog):
    orbax_messages.silence_tracebacks()
    for file in ("site/orbax/read.py", "site/other/read.py"):
        try:
            exec(compile("raise OSError", file, "exec"), {})
        except OSError as error:
            logging.getLogger("asyncio").error(
                file, exc_info=(OSError, error, error.__traceback__.tb_next)
            )
    assert [record.message for record in caplog.records] == ["site/other/read.py"]
