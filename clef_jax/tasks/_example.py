"""Decodes the texts of an example, which TFDS stores as bytes."""

from collections.abc import Iterable


def text(value: bytes | str) -> str:
    """Returns a stored text; an unknown text is empty."""
    return value.decode() if isinstance(value, bytes) else str(value)


def texts(values: Iterable[bytes | str]) -> tuple[str, ...]:
    """Returns a stored list of texts."""
    return tuple(map(text, values))
