"""The platform that a program is traced for, where that is not the machine at hand."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_platform: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


@contextlib.contextmanager
def use_platform(platform: str) -> Iterator[None]:
    """Makes all that is traced inside the block choose its forms for `platform`.

    A step that is compiled for another machine than this one needs it.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def current() -> str:
    """The platform of `use_platform` (`cpu`, `gpu`, `tpu`), or else JAX's default backend."""
    return _platform.get() or jax.default_backend()
