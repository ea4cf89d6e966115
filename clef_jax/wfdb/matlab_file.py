"""Checks the MATLAB files that hold the samples of WFDB records.

wfdb2mat writes one matrix of all signals, in the layout of MATLAB 4 or 5, and a header that states
where its samples begin.
"""

import pathlib
import struct

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.wfdb import storage

_MATLAB_4_TYPES = {"16": 30, "32": 20, "80": 50}
"""Type field of a little-endian matrix in a MATLAB 4 file, by WFDB's storage format."""
_MATLAB_5_TYPES = {"16": 3, "32": 5, "80": 2}
"""Type of the elements of a MATLAB 5 file, by WFDB's storage format."""
_MATLAB_5_MATRIX, _MATRIX = 128, 14
"""Position and type of the first matrix of a MATLAB 5 file."""
_HEAD_BYTES = 512
"""Number of bytes that are enough for everything before the samples."""


def check(file: pathlib.Path, storage_format: str, shape: tuple[int, int], offset: int) -> None:
    """Checks that the matrix of a file has the type and shape that a WFDB header states.

    Args:
        file: a signal file, which is checked if its suffix is `.mat`.
        storage_format: WFDB's storage format; only those that MATLAB can read are checked.
        shape: number of rows, which are the samples of a frame, and of columns.
        offset: position of the first sample in bytes.

    Raises:
        Defect: type, shape or position differ, or the file is not one that wfdb2mat writes.
        OSError: the file cannot be read.
    """
    if file.suffix != ".mat" or storage_format not in _MATLAB_4_TYPES:
        return
    with file.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    matrix = _matlab_5(head, storage_format) or _matlab_4(head, storage_format)
    if matrix is None:
        detail = (
            f"{file.name} is not an uncompressed MATLAB 4 or 5 matrix of the integers that the "
            f"header states, in storage format {storage_format}."
        )
        raise Defect("unreadable", detail)
    num_bytes = shape[0] * shape[1] * storage.count_bytes(storage_format, 1)
    excess = file.stat().st_size - offset - num_bytes
    if matrix == (*shape, offset) and excess >= 8 and head.startswith(b"MATLAB 5"):
        # One version of wfdb2mat writes 16 bits for each sample of 8.
        detail = (
            f"{file.name} has {counted(excess, 'byte')} after the samples that its header states."
        )
        raise Defect("header_mismatch", detail)
    if matrix != (*shape, offset):
        detail = (
            f"{file.name} holds {matrix[0]} x {counted(matrix[1], 'sample')} from byte "
            f"{matrix[2]}, but the header states {shape[0]} x {shape[1]:,} from byte {offset}."
        )
        raise Defect("header_mismatch", detail)


def _matlab_4(head: bytes, storage_format: str) -> tuple[int, int, int] | None:
    """Returns rows, columns and position of the samples of a MATLAB 4 file, else None."""
    if len(head) < 20:
        return None
    kind, rows, columns, _, name_length = struct.unpack_from("<5i", head)
    is_known = kind == _MATLAB_4_TYPES[storage_format]
    return (rows, columns, 20 + name_length) if is_known else None


def _matlab_5(head: bytes, storage_format: str) -> tuple[int, int, int] | None:
    """Returns rows, columns and position of the samples of a MATLAB 5 file, else None."""
    position, starts = _MATLAB_5_MATRIX + 8, []
    try:
        if not head.startswith(b"MATLAB 5.0") or _word(head, _MATLAB_5_MATRIX) != _MATRIX:
            return None
        for _ in range(3):  # flags, shape, name
            is_short = _word(head, position) >> 16 > 0  # then one word holds type and length
            length = 0 if is_short else _word(head, position + 4)
            starts.append(position + 8)
            position += 8 + -(-length // 8) * 8
        if _word(head, position) != _MATLAB_5_TYPES[storage_format]:
            return None
        rows, columns = struct.unpack_from("<2i", head, starts[1])
    except struct.error:  # the file ends before
        return None
    return rows, columns, position + 8


def _word(head: bytes, position: int) -> int:
    return struct.unpack_from("<I", head, position)[0]
