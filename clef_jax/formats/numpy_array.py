"""NumPy arrays: `.npy`, and `.npz` with a rate, gain and lead names beside the signal.

Headers are read here and samples straight from the bytes, so that nothing in a file is ever run.
"""

import functools
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _array, _recording
from clef_jax.formats._recording import Format, Hints, Opened

# What NumPy throws at malformed headers, and zipfile at malformed archives.
_HEADER_ERRORS = (ValueError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError)
_HEADER_ERRORS += (tokenize.TokenError,)
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)
_SMALL = 4096
"""A rate or the names of leads need no more bytes."""


def open_array(path: Path, hints: Hints) -> Iterator[Opened]:
    """The recordings of a `.npy` or `.npz` file; samples of `.npy` stay on disk.

    Raises:
        Defect: it is malformed or truncated, holds objects, or its shape or rate is not clear.
    """
    return (_open_npz if path.suffix.lower() == ".npz" else _open_npy)(path, hints)


def _open_npy(path: Path, hints: Hints) -> Iterator[Opened]:
    with path.open("rb") as stream:
        shape, fortran, dtype = _header(stream, path.name)
        offset = stream.tell()
    _array.check_kind(dtype, shape, path.name)
    needed = offset + _num_bytes(shape, dtype)
    size = path.stat().st_size
    if size < needed:
        detail = f"{path.name} is truncated: {size} bytes instead of {needed}."
        raise Defect("truncated", detail)
    order = "F" if fortran else "C"
    array = np.memmap(path, dtype, "r", offset, shape, order)
    yield from _array.recordings(array, hints, _array.Facts(where=path.name))


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; the stream then stands at the samples."""
    try:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        return readers[version](stream)
    except KeyError:
        raise Defect("unreadable", f"{where} is in a form of NumPy's that is not known.") from None
    except _HEADER_ERRORS:
        raise Defect("unreadable", f"{where} does not begin as NumPy arrays do.") from None


def _num_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _open_npz(path: Path, hints: Hints) -> Iterator[Opened]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path.name)
            known = {name.lower(): name for name in entries}
            get = functools.partial(_fact, archive, entries, known)
            facts = _array.Facts(
                where=path.name,
                sample_rate_hz=get(_array.RATE_NAMES, "number"),
                gain_per_mv=get(_array.GAIN_NAMES, "number"),
                unit=get(_array.UNIT_NAMES, "text") or "",
                lead_names=get(_array.LEAD_NAMES, "texts"),
            )
            beside = (*_array.RATE_NAMES, *_array.GAIN_NAMES, *_array.UNIT_NAMES)
            beside += _array.LEAD_NAMES
            signals = _array.choose(name for name in entries if name.lower() not in beside)
            if not signals:
                raise Defect("empty", f"{path.name} holds no signal.")
            for name in signals:
                array = _load(archive, entries[name], f"{path.name}: {name}")
                part = name if len(signals) > 1 else ""
                yield from _array.recordings(array, hints, facts, part)
    except _ZIP_ERRORS as error:
        detail = f"{path.name} is no archive that can be read ({type(error).__name__})."
        raise Defect("unreadable", detail) from None


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name.

    Raises:
        Defect: one claims to unpack to more than any recording, alone or with the others.
    """
    found = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    for entry in found:
        _recording.check_size(entry.file_size, entry.compress_size, f"{where}: {entry.filename}")
    total = sum(entry.file_size for entry in found)
    _recording.check_size(total, sum(entry.compress_size for entry in found), where)
    return {entry.filename.removesuffix(".npy"): entry for entry in found}


def _load(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> np.ndarray:
    with archive.open(entry) as stream:
        shape, fortran, dtype = _header(stream, where)
        if dtype.hasobject:
            raise Defect("unreadable", f"{where} holds Python objects, which are never loaded.")
        if dtype.itemsize == 0:
            raise Defect("empty", f"{where} holds texts without letters.")
        num_bytes = _num_bytes(shape, dtype)
        # Before anything of that size is asked for: the shape is only a claim.
        if num_bytes > entry.file_size:
            detail = f"{where} is truncated: {entry.file_size} bytes for the shape {shape}."
            raise Defect("truncated", detail)
        data = stream.read(num_bytes)
    if len(data) < num_bytes:
        raise Defect("truncated", f"{where} ends after {len(data)} of {num_bytes} bytes.")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _fact(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    known: dict[str, str],
    names: tuple[str, ...],
    kind: str,
) -> Any:
    """A number, a text or some texts beside the signal; None if they are not there."""
    name = _array.first(known, names)
    if name is None or entries[name].file_size > _SMALL:
        return None
    value = _load(archive, entries[name], name)
    if kind == "number":
        return float(value.item()) if value.size == 1 and value.dtype.kind in "iuf" else None
    if value.dtype.kind != "U":
        return None
    texts = tuple(str(text) for text in value.reshape(-1))
    return texts if kind == "texts" else texts[0] if len(texts) == 1 else None


FORMAT = Format(name="NumPy", suffixes=(".npy", ".npz"), open=open_array)
