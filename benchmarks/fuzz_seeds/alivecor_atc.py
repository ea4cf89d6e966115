"""Small whole ATC files, written from their specification."""

import struct
import zlib
from collections.abc import Iterable

import numpy as np

from fuzz_seeds import ADC, Seed

IDS = (
    "ecg ",
    "ecg2",
    "ecg3",
    "ecg4",
    "ecg5",
    "ecg6",
    "ecg7",
    "ecg8",
    "ecg9",
    "ecga",
    "ecgb",
    "ecgc",
)
DATE = "2010-12-08T15:54:23.245+10:00"


def block(name: str, content: bytes, *, with_crc: bool = False) -> bytes:
    """Returns a block with its checksum."""
    data = name.encode() + struct.pack("<I", len(content)) + content
    return data + struct.pack("<I", zlib.crc32(data) if with_crc else sum(data) % 2**32)


def encode(
    leads: Iterable[np.ndarray], *more: bytes, flags: int = 0, rate: int = 300, nanovolts: int = 500
) -> bytes:
    """Returns a file of leads in counts, followed by further blocks."""
    info = DATE.encode().ljust(32, b"\0") + b"Jane Doe".ljust(232, b"\0")
    form = struct.pack("<BHHBH", 1, rate, nanovolts, flags, 0)
    rows = [block(i, r.astype("<i2").tobytes()) for i, r in zip(IDS, leads, strict=False)]
    head = b"ALIVE\0\0\0" + struct.pack("<I", 5)
    return b"".join([head, block("info", info), block("fmt ", form), *rows, *more])


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    beat = block("avg ", ADC[:400].astype("<i2").tobytes())
    files = [encode([ADC]), encode([ADC] * 6, beat, flags=2 + 4 + 16)]
    return [Seed("x.atc", {"x.atc": data}) for data in files]
