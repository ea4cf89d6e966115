"""Reads texts of an example, which TFDS gives as bytes."""

from collections.abc import Iterable


def text(value: bytes | str) -> str:
    """A stored text; empty where it is unknown."""
    return value.decode() if isinstance(value, bytes) else str(value)


def texts(values: Iterable[bytes | str]) -> tuple[str, ...]:
    """A stored list of texts."""
    return tuple(map(text, values))
