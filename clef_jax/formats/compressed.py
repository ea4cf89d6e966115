"""Reads single files that were compressed with gzip, xz or bzip2, such as `ecg.csv.gz`.

The name without its last suffix decides the format. The file is decompressed to a temporary one,
which is removed when nobody uses its recordings any more.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _registry, _unpacked
from clef_jax.formats._recording import Format, Hints, Opened

_MAX_MEMORY_BYTES = 256 << 20
"""Most memory that decompression may take: a file of xz states how much it needs."""
_MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0"}


def looks_like(path: Path) -> bool:
    """Returns whether the beginning of the decompressed file is that of a recording.

    A damaged file is taken for a recording if its name ends as that of one.
    """
    inner = Path(path.stem)
    suffix = _registry.suffix(inner)
    if suffix not in _registry.suffixes() or suffix in _unpacked.ARCHIVES:
        return suffix in _registry.suffixes()
    with path.open("rb") as stream:
        if not stream.read(6).startswith(_MAGIC[path.suffix.lower()]):
            return bool(suffix)
    folder = _unpacked.Folder()
    beginning = folder.path / inner
    try:
        _unpacked.write_beginning(_pieces(path), beginning)
    except Defect:
        if not beginning.stat().st_size:
            return bool(suffix)
    return _registry.find_format(beginning) is not None


def open_compressed(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of the decompressed file.

    Raises:
        Defect: the file is damaged, becomes too large, or holds no recording or another archive.
    """
    inner = Path(path.stem)
    if inner.suffix.lower() in _unpacked.ARCHIVES:
        detail = f"{path.name} is an archive in an archive; decompress it first."
        raise Defect("nested_archive", detail)
    folder = _unpacked.Folder()
    file = folder.path / inner
    _unpacked.write(_pieces(path), file, _unpacked.Budget(path.name, path.stat().st_size))
    if not file.stat().st_size:
        raise Defect("empty", f"The file in {path.name} is empty.")
    file_format = _registry.find_format(file)
    if file_format is None:
        raise Defect("unknown_format", f"{path.name} holds no recording in a known format.")
    for opened in file_format.open(file, hints):
        yield _unpacked.kept(opened, folder)


def _pieces(path: Path) -> Iterator[bytes]:
    """Yields the decompressed data in pieces.

    Raises:
        Defect: the data is damaged or truncated.
    """
    try:
        if path.suffix.lower() == ".xz":
            yield from _xz_pieces(path)
            return
        opener = gzip.open if path.suffix.lower() == ".gz" else bz2.open
        with opener(path) as stream:
            while piece := stream.read(_unpacked.PIECE_BYTES):
                yield piece
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError) as error:
        raise _damaged(path) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path) from error  # bzip2 has no error of its own


def _damaged(path: Path) -> Defect:
    return Defect("unreadable", f"{path.name} is damaged or truncated; it cannot be decompressed.")


def _xz_pieces(path: Path) -> Iterator[bytes]:
    """Yields the data of all streams of a file of xz, with bounded memory."""
    with path.open("rb") as stream:
        data = stream.read(_unpacked.PIECE_BYTES)
        while data.strip(b"\0"):
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY_BYTES)
            while not decoder.eof:
                if decoder.needs_input and not data:
                    data = stream.read(_unpacked.PIECE_BYTES)
                    if not data:
                        raise EOFError
                piece = decoder.decompress(data, _unpacked.PIECE_BYTES)
                data = b""
                if piece:
                    yield piece
            data = decoder.unused_data or stream.read(_unpacked.PIECE_BYTES)


FORMAT = Format(
    name="compressed",
    suffixes=(".gz", ".xz", ".bz2"),
    looks_like=looks_like,
    open=open_compressed,
)
