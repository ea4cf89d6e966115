"""Decodes the storage formats of WFDB signal files, except compressed ones.

Format: physionet.org/physiotools/wag, signal(5).
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class _Packing:
    """Blocks of bytes, each of which holds one or more samples."""

    num_bytes: int
    num_samples: int
    missing: float
    """Sample that means "not recorded"; NaN if the format has none."""
    decode: Callable[[np.ndarray], np.ndarray]
    """Takes the bytes of n blocks, uint8 [n * num_bytes], and returns n * num_samples integers."""


def _decode_24(data: np.ndarray) -> np.ndarray:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = data.reshape(-1, 3)
    return wide.reshape(-1).view("<i4") >> 8


def _decode_212(data: np.ndarray) -> np.ndarray:
    # Low bytes are in the first and third byte, the high bits of both samples in the second.
    low, middle, high = data.reshape(-1, 3).astype(np.int16).T
    samples = np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1)
    return _extend_sign(samples.reshape(-1), 12)


def _decode_310(data: np.ndarray) -> np.ndarray:
    first, second = data.view("<u2").reshape(-1, 2).astype(np.int16).T
    third = (first >> 11 & 0x1F) | (second >> 11 & 0x1F) << 5
    samples = np.stack([first >> 1 & 0x3FF, second >> 1 & 0x3FF, third], axis=1)
    return _extend_sign(samples.reshape(-1), 10)


def _decode_311(data: np.ndarray) -> np.ndarray:
    word = data.view("<u4")
    samples = np.stack([word >> shift & 0x3FF for shift in (0, 10, 20)], axis=1)
    return _extend_sign(samples.reshape(-1).astype(np.int16), 10)


def _extend_sign(samples: np.ndarray, bits: int) -> np.ndarray:
    sign = 1 << (bits - 1)
    return (samples ^ sign) - sign


_PACKINGS = {
    "8": _Packing(1, 1, math.nan, lambda data: data.view("i1")),
    "16": _Packing(2, 1, -(1 << 15), lambda data: data.view("<i2")),
    "24": _Packing(3, 1, -(1 << 23), _decode_24),
    "32": _Packing(4, 1, -(1 << 31), lambda data: data.view("<i4")),
    "61": _Packing(2, 1, -(1 << 15), lambda data: data.view(">i2").astype(np.int16)),
    "80": _Packing(1, 1, -(1 << 7), lambda data: data.astype(np.int16) - (1 << 7)),
    "160": _Packing(2, 1, -(1 << 15), lambda data: data.view("<u2").astype(np.int32) - (1 << 15)),
    "212": _Packing(3, 2, -(1 << 11), _decode_212),
    "310": _Packing(4, 3, -(1 << 9), _decode_310),
    "311": _Packing(4, 3, -(1 << 9), _decode_311),
}
_COMPRESSED_BITS = {"508": 8, "516": 16, "524": 24}
DIFFERENCES = "8"
"""The format that stores the difference between a sample and the one before it."""


def is_known(storage_format: str) -> bool:
    """Returns whether `read` decodes a storage format."""
    return storage_format in _PACKINGS


def missing_value(storage_format: str) -> float:
    """Returns the sample that means "not recorded": the format's smallest; NaN if it has none."""
    if storage_format in _PACKINGS:
        return _PACKINGS[storage_format].missing
    return -(1 << (_COMPRESSED_BITS.get(storage_format, 16) - 1))


def count_samples(storage_format: str, num_bytes: int) -> int:
    """Returns the number of complete samples in a number of bytes."""
    packing = _PACKINGS[storage_format]
    return max(num_bytes, 0) * packing.num_samples // packing.num_bytes


def count_bytes(storage_format: str, num_samples: int) -> int:
    """Returns the number of bytes that samples need."""
    packing = _PACKINGS[storage_format]
    return -(-num_samples * packing.num_bytes // packing.num_samples)


def read(
    file: pathlib.Path, storage_format: str, offset_bytes: int, start: int, count: int
) -> np.ndarray:
    """Returns samples of a signal file in the order of the file, integers [count].

    Args:
        file: the signal file, which must hold the samples.
        storage_format: a format that `is_known`.
        offset_bytes: position of the first sample in the file.
        start: number of the first sample to return.
        count: number of samples.
    """
    packing = _PACKINGS[storage_format]
    first, skipped = divmod(start, packing.num_samples)
    num_bytes = -(-(count + skipped) // packing.num_samples) * packing.num_bytes
    offset = offset_bytes + first * packing.num_bytes
    data = np.fromfile(file, np.uint8, num_bytes, offset=offset)
    if len(data) < num_bytes:  # the file's last block may be incomplete
        data = np.pad(data, (0, num_bytes - len(data)))
    return packing.decode(data)[skipped : skipped + count]
