"""Parses JSON files of recordings, whose size and nesting are bounded before they are parsed."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax.finding import Defect

MAX_BYTES = 256 << 20
"""Largest accepted document, because it is in memory; a day of one lead as text is smaller."""
_MAX_BRACKETS = 1_000_000
_MAX_COMMAS = 6_000_000
"""Largest accepted numbers of objects and of their entries: in memory each takes up to 100 times
its size in the file."""
_PIECE_BYTES = 1 << 20
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BEGINNING = re.compile(rb"\s*(?:\{|\[\s*\{)")


def mentions(path: Path, *names: bytes) -> bool:
    """Returns whether a file begins as JSON and mentions all names, in any order.

    Names are not only sought in the beginning, because some programs sort the keys of an object, so
    that its samples precede its type. The file is read in pieces and not parsed.
    """
    longest = max(map(len, names))
    missing, tail, num_read = set(names), b"", 0
    with path.open("rb") as stream:
        while (piece := stream.read(_PIECE_BYTES)) and num_read < MAX_BYTES:
            plain = piece.replace(b"\0", b"")  # also in UTF-16
            if not num_read:
                for bom in _BOMS:
                    plain = plain.removeprefix(bom)
                if not _BEGINNING.match(plain):
                    return False
            num_read += len(piece)
            text = tail + plain
            missing = {name for name in missing if name not in text}
            if not missing:
                return True
            tail = text[-longest:]
    return False


def parse(data: bytes, where: str) -> Any:
    """Returns the value of a document; numbers with a point or an exponent are texts.

    Their texts show how exact they are.

    Args:
        data: the document in UTF-8, UTF-16 or UTF-32.
        where: name of the document in messages.

    Raises:
        Defect: the document is malformed, or too large or too nested to be one of a recording.
    """
    plain = data.replace(b"\0", b"")
    num_brackets = plain.count(b"{") + plain.count(b"[")
    if num_brackets > _MAX_BRACKETS or plain.count(b",") > _MAX_COMMAS:
        raise Defect("too_large", f"{where} has too many objects to be a recording.")
    try:
        return json.loads(data, parse_float=str, parse_constant=_reject)
    except RecursionError:
        raise Defect("unreadable", f"{where} is nested too deeply to be a recording.") from None
    except ValueError as error:
        line = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Defect("unreadable", f"{where} is malformed or truncated{line}.") from None


def _reject(constant: str) -> float:
    raise ValueError(constant)


def parse_file(path: Path) -> Any:
    """Returns the value of a file, as `parse` does.

    Raises:
        Defect: the file is too large, malformed, or too nested.
    """
    if path.stat().st_size > MAX_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 256 MiB, the largest size of a JSON file.")
    return parse(path.read_bytes(), path.name)


def entries(value: Any, *keys: str) -> list[dict[str, Any]]:
    """Returns the objects of a list that nested keys lead to; none if there is no such list."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any, *keys: str) -> str:
    """Returns the text or number that nested keys lead to, as text; empty if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return value.strip() if isinstance(value, str) else _digits(value)


def _digits(number: int) -> str:
    """Returns the digits of a number; no text if it has more than Python prints."""
    try:
        return str(number)
    except ValueError:
        return ""


def array(value: Any, where: str) -> np.ndarray:
    """Returns a list of numbers, float64 [N], with NaN for null.

    Raises:
        Defect: the value is no list of numbers, or an empty one.
    """
    if not isinstance(value, list) or not value:
        raise Defect("empty", f"{where} has no samples.")
    try:
        # Numbers with a point are texts here; other texts were texts in the file, too.
        numbers = [np.nan if v is None else float(v) for v in value if not isinstance(v, bool)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != len(value):
        raise Defect("unreadable", f"{where} has samples that are not numbers.")
    return np.array(numbers, np.float64)
