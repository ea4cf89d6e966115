"""Reads NumPy arrays: `.npy`, and `.npz` with rate, gain, unit and lead names beside the signal.

Headers are parsed and samples read directly from the bytes, so that no code of a file is executed.
"""

import functools
import math
import re
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

# Exceptions that NumPy raises for malformed headers, and zipfile for malformed archives.
_HEADER_ERRORS = (ValueError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError)
_HEADER_ERRORS += (tokenize.TokenError,)
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)
_SMALL = 4096
"""Largest size in bytes of an array of metadata, such as lead names."""


def open_array(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of a `.npy` or `.npz` file; samples of `.npy` stay on disk.

    Raises:
        Defect: the file is malformed or truncated, holds Python objects, or its axis of time or
            sampling rate is unknown.
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
    yield from _array.recordings(array, hints, _array.Metadata(where=path.name))


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads a header: returns shape, whether the order is Fortran's, and type.

    The stream is then at the first sample.
    """
    try:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran, dtype = readers[version](stream)
    except KeyError:
        raise Defect("unreadable", f"{where} has an unknown version of NumPy's format.") from None
    except _HEADER_ERRORS:
        detail = f"{where} does not begin with the header of a NumPy array."
        raise Defect("unreadable", detail) from None
    if min(shape, default=0) < 0:
        raise Defect("unreadable", f"{where} states an invalid shape: {shape}.")
    return shape, fortran, dtype


def _num_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _open_npz(path: Path, hints: Hints) -> Iterator[Opened]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path.name)
            known = {name.lower(): name for name in entries}
            get = functools.partial(_read_metadata, archive, entries, known)
            metadata = _array.Metadata(
                where=path.name,
                sample_rate_hz=get(_array.RATE_NAMES, "number"),
                gain_per_mv=get(_array.GAIN_NAMES, "number"),
                baseline=get(_array.BASELINE_NAMES, "number"),
                unit=get(_array.UNIT_NAMES, "text") or "",
                lead_names=get(_array.LEAD_NAMES, "texts"),
            )
            beside = (*_array.RATE_NAMES, *_array.GAIN_NAMES, *_array.UNIT_NAMES)
            beside += (*_array.LEAD_NAMES, *_array.BASELINE_NAMES)
            signals = _array.choose(name for name in entries if name.lower() not in beside)
            if not signals:
                raise Defect("empty", f"{path.name} holds no signal.")
            for name in signals:
                array = _load(archive, entries[name], f"{path.name}: {name}")
                part = name if len(signals) > 1 else ""
                yield from _array.recordings(array, hints, metadata, part)
    except _ZIP_ERRORS as error:
        detail = f"{path.name} is not a readable archive ({type(error).__name__})."
        raise Defect("unreadable", detail) from None


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """Returns the arrays of an archive by name.

    Raises:
        Defect: an array, or all together, would be implausibly large when uncompressed.
    """
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    for entry in entries:
        _recording.check_size(entry.file_size, entry.compress_size, f"{where}: {entry.filename}")
    total = sum(entry.file_size for entry in entries)
    _recording.check_size(total, sum(entry.compress_size for entry in entries), where)
    return {entry.filename.removesuffix(".npy"): entry for entry in entries}


def _load(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> np.ndarray:
    with archive.open(entry) as stream:
        shape, fortran, dtype = _header(stream, where)
        if dtype.hasobject:
            raise Defect("unreadable", f"{where} holds Python objects, which are never loaded.")
        if dtype.itemsize == 0:
            raise Defect("empty", f"{where} holds empty texts.")
        num_bytes = _num_bytes(shape, dtype)
        # Check before memory is allocated, because the stated shape may be wrong.
        if num_bytes > entry.file_size:
            detail = f"{where} is truncated: {entry.file_size} bytes for the shape {shape}."
            raise Defect("truncated", detail)
        data = stream.read(num_bytes)
    if len(data) < num_bytes:
        raise Defect("truncated", f"{where} ends after {len(data)} of {num_bytes} bytes.")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_metadata(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    known: dict[str, str],
    names: tuple[str, ...],
    kind: str,
) -> Any:
    """Returns a number, a text or several texts that are stored beside the signal, else None.

    Args:
        archive: the archive.
        entries: its arrays by name.
        known: names of the arrays by names in lower case.
        names: accepted names in lower case, the preferred one first.
        kind: `number`, `text` or `texts`.
    """
    name = _array.first(known, names)
    if name is None or entries[name].file_size > _SMALL:
        return None
    value = _load(archive, entries[name], name)
    if value.dtype.kind not in "iufSU" or (value.size != 1 and kind != "texts"):
        return None
    if kind == "number" and value.dtype.kind in "iuf":
        return float(value.item())
    texts = tuple(
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for text in value.reshape(-1).tolist()
    )
    if kind == "number":
        return _recording.parse_number(re.sub(r"\s*hz\s*$", "", texts[0], flags=re.IGNORECASE))
    if value.dtype.kind not in "SU":
        return None
    return texts if kind == "texts" else texts[0] if len(texts) == 1 else None


FORMAT = Format(name="NumPy", suffixes=(".npy", ".npz"), open=open_array)
