"""Reads arrays of numbers from MATLAB 5 files, and nothing else.

SciPy's reader lets some damaged files end the whole process, so it cannot go through a folder of
unknown files. Format: "MAT-File Format", The MathWorks, level 5.
"""

import dataclasses
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_HEAD_BYTES = 1 << 12
"""Flags, shape and name of an array need no more."""
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_TYPES |= {12: "i8", 13: "u8"}
"""How numbers are stored, which may take fewer bytes than their class has."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
_NOT_REAL = 0x0A00
"""Flags of complex numbers and of truth values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variable:
    """An array of real numbers, still in its file."""

    name: str
    shape: tuple[int, ...]
    kind: str
    """As NumPy calls the class."""
    order: str
    """Of bytes, `<` or `>`."""
    compressed: bool
    position: int
    """In the file, of what describes the array."""
    stored_bytes: int
    data_offset: int
    """Of the numbers from where the array begins, in bytes that are not compressed."""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.kind).itemsize


def variables(path: Path) -> dict[str, Variable]:
    """The arrays of numbers, by name; cells, structs, texts and objects are passed by.

    Raises:
        Defect: the file is malformed or truncated.
    """
    size, found = path.stat().st_size, {}
    with path.open("rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(_HEADER_BYTES)[126:])
        if order is None:
            raise _malformed(path.name)
        position = _HEADER_BYTES
        while position < size:
            stream.seek(position)
            kind, length = _tag(stream.read(8), 0, order, path.name)[:2]
            end = position + 8 + length
            if end > size:
                detail = f"{path.name} is truncated: {size} bytes instead of {end}."
                raise Defect("truncated", detail)
            head = stream.read(min(length, _HEAD_BYTES))
            if kind == _COMPRESSED:
                head = _inflate(head, _HEAD_BYTES, path.name)
                if _tag(head, 0, order, path.name)[0] != _MATRIX:
                    raise _malformed(path.name)
                head = head[8:]
            if kind in (_MATRIX, _COMPRESSED):
                described = _describe(head, order, path.name)
                if described:
                    found[described["name"]] = Variable(
                        order=order,
                        compressed=kind == _COMPRESSED,
                        position=position + 8,
                        stored_bytes=length,
                        **described,
                    )
            position = end
    return found


def load(path: Path, variable: Variable) -> np.ndarray:
    """The array itself.

    Raises:
        Defect: it is damaged, or claims to unpack to more than any recording.
    """
    where = f"{path.name}: {variable.name}"
    _recording.check_size(variable.num_bytes, variable.stored_bytes, where)
    with path.open("rb") as stream:
        stream.seek(variable.position)
        body = stream.read(variable.stored_bytes)
    if variable.compressed:
        # Small numbers may be stored in wider types than their class, but none is wider than 8.
        most = 16 + variable.data_offset + 8 * math.prod(variable.shape)
        body = _inflate(body, most, where)[8:]
    kind, length, start = _tag(body, variable.data_offset, variable.order, where)
    if kind not in _TYPES:
        raise _malformed(where)
    stored = np.dtype(f"{variable.order}{_TYPES[kind]}")
    count = math.prod(variable.shape)
    if length != count * stored.itemsize or start + length > len(body):
        detail = f"{where} is truncated: {length} bytes do not hold the shape {variable.shape}."
        raise Defect("truncated", detail)
    array = np.frombuffer(body, stored, count, start).reshape(variable.shape, order="F")
    return array.astype(variable.kind, copy=False)


def _malformed(where: str) -> Defect:
    return Defect("unreadable", f"{where} is malformed or truncated.")


def _tag(body: bytes, offset: int, order: str, where: str) -> tuple[int, int, int]:
    """Type and number of bytes of an element, and where they begin."""
    if len(body) < offset + 8:
        raise _malformed(where)
    kind, length = struct.unpack_from(f"{order}2I", body, offset)
    if kind >> 16:  # a short element has both in one word, and up to four bytes in the other
        return kind & 0xFFFF, kind >> 16, offset + 4
    return kind, length, offset + 8


def _inflate(data: bytes, num_bytes: int, where: str) -> bytes:
    """The first bytes of a compressed element, and no more."""
    try:
        return zlib.decompressobj().decompress(data, num_bytes)
    except zlib.error:
        raise _malformed(where) from None


def _describe(body: bytes, order: str, where: str) -> dict | None:
    """Name, shape, kind and data_offset of an array; None if it is not one of real numbers."""
    parts, offset = [], 0
    for _ in range(3):  # flags, shape, name
        _, length, start = _tag(body, offset, order, where)
        if start + length > len(body):
            raise _malformed(where)
        parts.append(body[start : start + length])
        offset = -(-(start + length) // 8) * 8
    if len(parts[0]) < 4 or len(parts[1]) % 4:
        raise _malformed(where)
    flags = struct.unpack_from(f"{order}I", parts[0])[0]
    shape = struct.unpack(f"{order}{len(parts[1]) // 4}i", parts[1])
    kind = _CLASSES.get(flags & 0xFF)
    if kind is None or flags & _NOT_REAL:
        return None
    if min(shape, default=-1) < 0:
        raise _malformed(where)
    name = parts[2].decode("ascii", errors="replace")
    return {"name": name, "shape": shape, "kind": kind, "data_offset": offset}
