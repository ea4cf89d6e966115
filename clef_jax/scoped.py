"""A value that holds within a block of code, and in everything that the block calls or traces."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")

Block = contextlib.AbstractContextManager[None]
"""Type of an object that a `with` statement enters, which yields no value."""


class Scoped(Generic[Value]):
    """A value that holds within blocks: each thread and task has its own."""

    def __init__(self, name: str, default: Value):
        self._variable: contextvars.ContextVar[Value] = contextvars.ContextVar(
            name, default=default
        )

    def get(self) -> Value:
        """Returns the value of the innermost block, or the default outside of all."""
        return self._variable.get()

    @contextlib.contextmanager
    def use(self, value: Value) -> Iterator[None]:
        """Makes a value hold within the block."""
        token = self._variable.set(value)
        try:
            yield
        finally:
            self._variable.reset(token)
