"""Reads numbers and texts from MATLAB 5 files, also those in structs, and no other contents.

SciPy's reader crashes the process on some damaged files, so it cannot be used for a folder of
unknown files. Format: "MAT-File Format", The MathWorks, level 5.
"""

import dataclasses
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_HEAD_BYTES = 1 << 12
"""Number of bytes that hold flags, shape and name of an array."""
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_TYPES |= {12: "i8", 13: "u8"}
"""NumPy types of stored numbers by code; they may be narrower than the array's class."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
"""NumPy types of array classes by code."""
_STRUCT, _TEXT = 2, 4
"""Classes of structs and of texts."""
_TEXT_CODECS = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Encodings of texts by the code of their stored type."""
_MAX_DEPTH = 4
"""Largest depth of structs in structs."""
_NOT_REAL = 0x0A00
"""Flags of complex and of logical arrays."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variable:
    """An array of real numbers, still in its file."""

    name: str
    """Name; of a field of a struct the names of both, for example `ECG.data`."""
    shape: tuple[int, ...]
    kind: str
    """NumPy type of the array's class."""
    order: str
    """Byte order, `<` or `>`."""
    compressed: bool
    position: int
    """Position of the array's description in the file, in bytes."""
    stored_bytes: int
    """Size of the array in the file."""
    data_offset: int
    """Offset of the numbers from the beginning of the uncompressed array, in bytes."""
    is_text: bool

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.kind).itemsize


def variables(path: Path) -> dict[str, Variable]:
    """Returns the arrays of numbers and the texts by name; cells, objects, and structs of several
    elements are skipped.

    Raises:
        Defect: the file is malformed or truncated.
    """
    size, arrays = path.stat().st_size, {}
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
            if kind in (_MATRIX, _COMPRESSED):
                compressed = kind == _COMPRESSED
                body = _beginning(stream, length, compressed, order, path.name)
                for described in _describe(body, 0, order, path.name):
                    arrays[described["name"]] = Variable(
                        order=order,
                        compressed=compressed,
                        position=position + 8,
                        stored_bytes=length,
                        **described,
                    )
            position = end
    return arrays


def _beginning(
    stream: IO[bytes], length: int, compressed: bool, order: str, where: str
) -> memoryview:
    """Reads what describes an array: its first bytes, or a complete struct, uncompressed."""
    position, num_bytes = stream.tell(), length
    body = stream.read(min(length, _HEAD_BYTES))
    if compressed:
        body = _inflate(body, _HEAD_BYTES, where)
        kind, num_bytes, start = _tag(body, 0, order, where)
        if kind != _MATRIX:
            raise _malformed(where)
        body = body[start:]
    flags, shape = _parts(body, 0, order, where)[:2]
    if flags & 0xFF == _STRUCT and math.prod(shape) == 1:
        _recording.check_size(num_bytes, length, where)
        stream.seek(position)
        body = stream.read(length)
        body = _inflate(body, num_bytes + 8, where)[8:] if compressed else body
    return memoryview(body)


def load(path: Path, variable: Variable) -> np.ndarray:
    """Returns the numbers of an array, with the shape and type that the file states.

    Raises:
        Defect: the array is malformed or truncated, or implausibly large when uncompressed.
    """
    where = f"{path.name}: {variable.name}"
    body = _body(path, variable, where)
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


def load_text(path: Path, variable: Variable) -> str:
    """Returns a text of one line.

    Raises:
        Defect: the text is malformed or truncated.
    """
    where = f"{path.name}: {variable.name}"
    body = _body(path, variable, where)
    kind, length, start = _tag(body, variable.data_offset, variable.order, where)
    if kind not in _TEXT_CODECS or start + length > len(body):
        raise _malformed(where)
    codec = _TEXT_CODECS[kind]
    if codec in ("utf-16", "utf-32"):
        codec += "-le" if variable.order == "<" else "-be"
    return bytes(body[start : start + length]).decode(codec, "replace").strip("\0 ")


def _body(path: Path, variable: Variable, where: str) -> bytes:
    """Returns an array as its file describes it, uncompressed."""
    _recording.check_size(variable.num_bytes, variable.stored_bytes, where)
    with path.open("rb") as stream:
        stream.seek(variable.position)
        body = stream.read(variable.stored_bytes)
    if variable.compressed:
        # Numbers may be stored in wider types than their class, but in no more than 8 bytes.
        max_bytes = 16 + variable.data_offset + 8 * math.prod(variable.shape)
        body = _inflate(body, max_bytes, where)[8:]
    return body


def _malformed(where: str) -> Defect:
    return Defect("unreadable", f"{where} is malformed or truncated.")


def _tag(body: bytes | memoryview, offset: int, order: str, where: str) -> tuple[int, int, int]:
    """Returns the type of an element, its number of bytes, and their offset."""
    if len(body) < offset + 8:
        raise _malformed(where)
    kind, length = struct.unpack_from(f"{order}2I", body, offset)
    if kind >> 16:  # one word of a short element holds both, the other up to four bytes of data
        return kind & 0xFFFF, kind >> 16, offset + 4
    return kind, length, offset + 8


def _inflate(data: bytes, num_bytes: int, where: str) -> bytes:
    """Returns at most the first `num_bytes` of a compressed element, uncompressed."""
    try:
        return zlib.decompressobj().decompress(data, num_bytes)
    except zlib.error:
        raise _malformed(where) from None


def _parts(
    body: bytes | memoryview, offset: int, order: str, where: str
) -> tuple[int, tuple[int, ...], str, int]:
    """Returns flags, shape and name of an array, and the offset of its contents."""
    parts = []
    for _ in range(3):
        _, length, start = _tag(body, offset, order, where)
        if start + length > len(body):
            raise _malformed(where)
        parts.append(bytes(body[start : start + length]))
        offset = _aligned(start + length)
    if len(parts[0]) < 4 or len(parts[1]) % 4:
        raise _malformed(where)
    flags = struct.unpack_from(f"{order}I", parts[0])[0]
    shape = struct.unpack(f"{order}{len(parts[1]) // 4}i", parts[1])
    return flags, shape, parts[2].decode("ascii", errors="replace"), offset


def _aligned(offset: int) -> int:
    return -(-offset // 8) * 8


def _describe(
    body: memoryview, offset: int, order: str, where: str, name: str = "", depth: int = 0
) -> list[dict]:
    """Returns the fields of `Variable` that describe an array of real numbers or a text, or those
    in a struct; nothing for others.

    Args:
        body: the array, uncompressed.
        offset: offset of its description.
        order: byte order, `<` or `>`.
        where: the file's name.
        name: name of a field of a struct; by default the array's own.
        depth: number of structs around the array.
    """
    flags, shape, own, offset = _parts(body, offset, order, where)
    name, kind = name or own, _CLASSES.get(flags & 0xFF)
    if flags & 0xFF == _STRUCT and math.prod(shape) == 1 and depth < _MAX_DEPTH:
        return _describe_fields(body, offset, order, where, name, depth + 1)
    is_text = flags & 0xFF == _TEXT
    if is_text:
        kind = "u2"
    if kind is None or flags & _NOT_REAL:
        return []
    if min(shape, default=-1) < 0:
        raise _malformed(where)
    described = {"name": name, "shape": shape, "kind": kind, "data_offset": offset}
    return [{**described, "is_text": is_text}]


def _describe_fields(
    body: memoryview, offset: int, order: str, where: str, name: str, depth: int
) -> list[dict]:
    """Returns what `_describe` returns, for the fields of a struct."""
    _, length, start = _tag(body, offset, order, where)
    if length != 4 or start + 4 > len(body):
        raise _malformed(where)
    width = struct.unpack_from(f"{order}i", body, start)[0]
    _, length, start = _tag(body, _aligned(start + length), order, where)
    if width < 1 or length % width or start + length > len(body):
        raise _malformed(where)
    names = bytes(body[start : start + length])
    described, offset = [], _aligned(start + length)
    for i in range(0, length, width):
        field = names[i : i + width].partition(b"\0")[0].decode("ascii", errors="replace")
        kind, num_bytes, start = _tag(body, offset, order, where)
        if kind != _MATRIX or start + num_bytes > len(body):
            raise _malformed(where)
        if num_bytes:  # an empty field may have no description
            inside = body[: start + num_bytes]
            described += _describe(inside, start, order, where, f"{name}.{field}", depth)
        offset = _aligned(start + num_bytes)
    return described
