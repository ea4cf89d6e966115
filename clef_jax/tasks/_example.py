"""Reads texts of an example, which TFDS gives as bytes."""

from collections.abc import Iterable


def text(value: bytes | str) -> str:
    """Returns a stored text; empty where it is unknown."""
    return value.decode() if isinstance(value, bytes) else str(value)


def texts(values: Iterable[bytes | str]) -> tuple[str, ...]:
    """Returns a stored list of texts."""
    return tuple(map(text, values))
