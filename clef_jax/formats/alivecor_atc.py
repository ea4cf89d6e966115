"""Reads the ATC files of AliveCor's recorders (KardiaMobile), with one to twelve leads.

Format: ATC File Format Specification 1.7, which AliveCor publishes; its own reader is on no package
index. Average and median beats are not recordings.
"""

import datetime
import functools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _array, _patient, _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_SIGNATURE = b"ALIVE\0\0\0"
_MAX_FILE_BYTES = 256 << 20
"""Largest accepted file, because it is in memory; five minutes of 12 leads take 2 MB."""
_MAX_BLOCKS = 1000
_LEADS = {
    b"ecg" + key.encode(): lead for key, lead in zip(" 23456789abc", leads.STANDARD_12, strict=True)
}
_BEATS = (b"avg", b"med")
_FORMAT = struct.Struct("<BHHBH")
_FLAGS = {
    4: "mains filter",
    16: "0.1 Hz baseline filter",
    32: "mains notch",
    64: "enhancing filter",
}
_MAINS_60_HZ = 2
_DATE_BYTES = 32


def looks_like(path: Path) -> bool:
    """Returns whether a file has the signature of ATC, perhaps damaged in some letters."""
    with path.open("rb") as stream:
        head = stream.read(16)
    return head.startswith(_SIGNATURE) or head[12:] in (b"info", b"fmt ")


def open_atc(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of a file.

    Raises:
        Defect: the file is truncated or malformed, or has no samples.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 256 MiB, the largest size of an ATC file.")
    data = path.read_bytes()
    if not data.startswith(_SIGNATURE):
        raise Defect("unreadable", f"{path.name} does not begin as an ATC file.")
    blocks, notes = _blocks(data, path.name)
    content = blocks.get(b"fmt ", b"")
    if len(content) < _FORMAT.size:
        raise Defect("unreadable", f"{path.name} has no block that states the form of its samples.")
    kind, rate_hz, nanovolts, flags, _ = _FORMAT.unpack_from(content)
    if kind != 1 or nanovolts == 0:
        raise Defect("unreadable", f"{path.name} has samples of an unknown form.")
    rate = _recording.check_rate(float(rate_hz), path.name)
    found = [(lead, blocks[key]) for key, lead in _LEADS.items() if key in blocks]
    if not found:
        raise Defect("no_ecg_lead", f"{path.name} holds no samples of an ECG.")
    lengths = sorted({len(samples) // 2 for _, samples in found})
    if len(lengths) > 1:
        detail = f"{path.name} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    rows = [np.frombuffer(samples[: 2 * lengths[0]], "<i2") for _, samples in found]
    names, name_notes = _recording.lead_names(tuple(lead for lead, _ in found), hints, len(rows))
    mains = "60 Hz" if flags & _MAINS_60_HZ else "50 Hz"
    filters = ", ".join(
        text.replace("mains", f"{mains} mains") for flag, text in _FLAGS.items() if flags & flag
    )
    yield Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=lengths[0],
        unit_known=True,
        read=functools.partial(_array.read, np.stack(rows), nanovolts * 1e-6),
        notes=(
            *notes,
            *_recording.loss_notes(filters=filters, rate_hz=rate, step_mv=nanovolts * 1e-6),
            *name_notes,
        ),
        patient=Patient(recorded_at=_date(blocks.get(b"info", b""))),
    )


def _blocks(data: bytes, where: str) -> tuple[dict[bytes, bytes], list[Note]]:
    """Returns the first block of each name, and notes on skipped beats and wrong checksums.

    Raises:
        Defect: a block of samples exceeds the file.
    """
    blocks: dict[bytes, bytes] = {}
    num_beats = num_wrong = 0
    start = len(_SIGNATURE) + 4
    while start + 8 <= len(data) and len(blocks) < _MAX_BLOCKS:
        name, length = (
            data[start : start + 4],
            int.from_bytes(data[start + 4 : start + 8], "little"),
        )
        stop = start + 8 + length
        if stop > len(data):
            raise Defect("unreadable", f"{where} is truncated, or states a wrong length.")
        stored = int.from_bytes(data[stop : stop + 4], "little")
        num_wrong += stored not in _checksums(data[start:stop])
        num_beats += name[:3] in _BEATS
        blocks.setdefault(name, data[start + 8 : stop])
        start = stop + 4
    notes = []
    if num_beats:
        detail = f"{num_beats} average or median beats were skipped."
        notes.append(Note("derived_series", detail))
    if num_wrong:
        detail = f"{num_wrong} blocks of the file have other checksums than it states."
        notes.append(Note("checksum_mismatch", detail))
    return blocks, notes


def _checksums(block: bytes) -> tuple[int, int]:
    """Returns the sum and the CRC of a block: the specification names both."""
    return int(np.frombuffer(block, np.uint8).sum(dtype=np.uint64)) & 0xFFFFFFFF, zlib.crc32(block)


def _date(info: bytes) -> datetime.datetime | None:
    """Returns the time of a recording from the beginning of its block of information."""
    text = info[:_DATE_BYTES].partition(b"\0")[0].decode("ascii", "replace").strip()
    return _patient.iso_time(text)


FORMAT = Format(name="AliveCor ATC", suffixes=(".atc",), looks_like=looks_like, open=open_atc)
