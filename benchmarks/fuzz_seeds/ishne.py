"""Encodes ISHNE Holter files, as the specification of version 1.0 lays them out."""

import struct

import numpy as np

from fuzz_seeds import ADC, Seed

CODES = {"": 0, "X": 2, "Y": 3, "Z": 4, "I": 5, "II": 6, "III": 7, "aVR": 8, "aVL": 9, "aVF": 10}
CODES |= {f"V{number}": 10 + number for number in range(1, 7)} | {"ES": 17, "AS": 18, "AI": 19}
ABSENT = -9


def crc_ccitt(data: bytes) -> int:
    """Returns the cyclic redundancy code of the specification: x^16 + x^12 + x^5 + 1, from ones."""
    crc = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = (crc >> 15) ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    return crc


def twelve(values: list[int]) -> bytes:
    """Returns the 12 short integers of a property of leads."""
    return struct.pack("<12h", *values, *[ABSENT] * (12 - len(values)))


def encode(
    samples: np.ndarray,
    names: tuple[str, ...],
    *,
    rate_hz: int = 200,
    resolutions_nv: list[int] | None = None,
    codes: list[int] | None = None,
    qualities: list[int] | None = None,
    block: bytes = b"",
    num_stated: int | None = None,
    offset: int | None = None,
    num_leads: int | None = None,
    sex: int = 1,
    born: tuple[int, int, int] = (3, 4, 1950),
    date: tuple[int, int, int] = (28, 2, 2011),
    clock: tuple[int, int, int] = (9, 30, 15),
    checksum: int | None = None,
    magic: bytes = b"ISHNE1.0",
) -> bytes:
    """Returns a file.

    Args:
        samples: integers, int16 [L, T].
        names: names of the leads.
        rate_hz: sampling rate.
        resolutions_nv: nanovolts per unit of each lead; by default 2500.
        codes: codes of the leads; by default those of their names.
        qualities: qualities of the leads by code; by default good ones.
        block: block between header and samples.
        num_stated: number of samples in the header; by default that of each lead.
        offset: position of the samples in the header; by default the real one.
        num_leads: number of leads in the header; by default the real one.
        sex: 0 unknown, 1 male, 2 female.
        born: day, month and year.
        date: day, month and year of the recording.
        clock: hour, minute and second of its start.
        checksum: checksum in the header; by default the right one.
        magic: first eight bytes.
    """
    count = len(samples)
    offset = 522 + len(block) if offset is None else offset
    head = struct.pack(
        "<4ih40s40s20s2h", len(block), samples.shape[1] if num_stated is None else num_stated,
        522, offset, 1, b"Jane", b"Doe", b"4711", sex, 1,
    )  # fmt: skip
    head += struct.pack("<12h", *born, *date, *date, *clock)
    head += struct.pack("<h", count if num_leads is None else num_leads)
    head += twelve(codes or [CODES[name] for name in names])
    head += twelve(qualities or [1] * count) + twelve(resolutions_nv or [2500] * count)
    head += struct.pack("<h40sh80s80s88s", 0, b"digital", rate_hz, b"", b"", b"")
    head += block
    checksum = crc_ccitt(head) if checksum is None else checksum
    return magic + struct.pack("<H", checksum) + head + samples.T.astype("<i2").tobytes()


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    samples = np.stack([ADC, -ADC, ADC / 2]).astype(np.int16)
    contents = (
        encode(samples, ("I", "II", "V5")),
        encode(samples[:2], ("X", "Y"), block=b"remarks of the recorder", num_stated=2000),
        encode(samples[:1], ("",), resolutions_nv=[ABSENT], checksum=0),
    )
    return [Seed("x.ecg", {"x.ecg": content}) for content in contents]
