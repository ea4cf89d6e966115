"""Reads ISHNE Holter files. Samples stay on disk.

Format: ISHNE standard output file, version 1.0 (1998): a header, a block of any length, and the
samples of all leads in turn. Written here, because the readers in Python that exist load all
samples at once and verify neither lengths nor limits.
"""

import binascii
import dataclasses
import datetime
import functools
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _patient, _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_MAGIC = b"ISHNE1.0"
_ANNOTATIONS = b"ANN "
_ABSENT = -9
_MAX_LEADS = 12
_CHECKSUM_START = 10
_HEADER = struct.Struct("<8s H 4i h 40x 40x 20x 2h 3h 3h 3h 3h h 12h 12h 12h h 40x h 80x 80x 88x")
_CHUNK_BYTES = 1 << 20
_MISSING = np.iinfo(np.int16).min
_LEADS = {
    0: "", 1: "", 2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF",
    **{10 + number: f"V{number}" for number in range(1, 7)}, 17: "ES", 18: "AS", 19: "AI",
}  # fmt: skip
"""Names of leads by code; 0 is an unknown one and 1 any bipolar one."""
_QUALITIES = {
    2: "noise in up to a tenth of the recording",
    3: "noise in more than a tenth of the recording",
    4: "disconnected in up to a tenth of the recording",
    5: "disconnected in more than a tenth of the recording",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Header:
    checksum: int
    block_bytes: int
    """Size of the block before the samples."""
    num_stated: int
    sample_offset: int
    sex: int
    born: tuple[int, ...]
    """Day, month and year."""
    date: tuple[int, ...]
    clock: tuple[int, ...]
    """Hour, minute and second."""
    num_leads: int
    codes: tuple[int, ...]
    qualities: tuple[int, ...]
    resolutions_nv: tuple[int, ...]
    rate_hz: int


def looks_like(path: Path) -> bool:
    """Returns whether a file begins as one of ISHNE. Other formats use its suffix, too."""
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    return start.startswith((_MAGIC[:5], _ANNOTATIONS))


def open_ishne(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of a file.

    Raises:
        Defect: the file is malformed or truncated, or holds annotations.
    """
    header = _read_header(path)
    offset, notes = _sample_offset(header, path)
    num_samples, length_notes = _length(header, offset, path)
    notes += [*_checksum_notes(header, path), *length_notes]
    order = _order(header)
    codes = [header.codes[index] for index in order]
    names, name_notes = _recording.lead_names(
        tuple(_LEADS.get(code, "") for code in codes), hints, header.num_leads
    )
    millivolts, known, unit_notes = _scales([header.resolutions_nv[i] for i in order], names, hints)
    for index, name in zip(order, names, strict=True):
        if quality := _QUALITIES.get(header.qualities[index]):
            notes.append(Note("lead_quality", f"The recorder reports: {quality}.", name or None))
    rows = [row for row, factor in enumerate(millivolts) if factor is not None]
    factors = np.array([factor for factor in millivolts if factor is not None])[:, None]
    rate = header.rate_hz if header.rate_hz > 0 else hints.sample_rate_hz
    yield Opened(
        lead_names=tuple(names[row] for row in rows),
        sample_rate_hz=_recording.check_rate(rate, path.name),
        num_samples=num_samples,
        unit_known=known,
        read=functools.partial(_read, path, offset, header.num_leads, rows, factors, num_samples),
        notes=(*notes, *name_notes, *unit_notes, *_recording.unit_notes(known)),
        patient=_patient_of(header),
    )


def _read_header(path: Path) -> _Header:
    with path.open("rb") as stream:
        head = stream.read(_HEADER.size)
    if head.startswith(_ANNOTATIONS):
        detail = f"{path.name} holds annotations of beats, and no ECG."
        raise Defect("no_ecg_lead", detail)
    if not head.startswith(_MAGIC):
        version = head[5:8].decode("ascii", "replace")
        detail = f"{path.name} has version {version!r} of the format; only 1.0 is read."
        raise Defect("unreadable", detail)
    if len(head) < _HEADER.size:
        detail = f"{path.name} holds {len(head)} of {_HEADER.size} bytes of its header."
        raise Defect("truncated", detail)
    values = _HEADER.unpack(head)
    header = _Header(
        checksum=values[1],
        block_bytes=values[2],
        num_stated=values[3],
        sample_offset=values[5],
        sex=values[7],
        born=values[9:12],
        date=values[12:15],
        clock=values[18:21],
        num_leads=values[21],
        codes=values[22:34],
        qualities=values[34:46],
        resolutions_nv=values[46:58],
        rate_hz=values[59],
    )
    if not 1 <= header.num_leads <= _MAX_LEADS:
        detail = (
            f"{path.name} states {counted(header.num_leads, 'lead')}; an ISHNE file has 1 to "
            f"{_MAX_LEADS}."
        )
        raise Defect("lead_count", detail)
    return header


def _sample_offset(header: _Header, path: Path) -> tuple[int, list[Note]]:
    """Returns the position of the first sample in bytes."""
    after_block = _HEADER.size + max(header.block_bytes, 0)
    size = path.stat().st_size
    if header.sample_offset in (0, _ABSENT):
        offset = after_block
    elif header.sample_offset < _HEADER.size:
        detail = f"{path.name} states an invalid position of its samples: {header.sample_offset}."
        raise Defect("unreadable", detail)
    else:
        offset = header.sample_offset
    if offset + 2 * header.num_leads > size:
        detail = f"{path.name} has {size:,} bytes; its samples would begin at byte {offset:,}."
        raise Defect("truncated", detail)
    if offset == after_block:
        return offset, []
    detail = (
        f"The samples begin at byte {offset:,}, not after the header and its block, which end at "
        f"byte {after_block:,}."
    )
    return offset, [Note("wrong_offset", detail)]


def _length(header: _Header, offset: int, path: Path) -> tuple[int, list[Note]]:
    """Returns the length in samples that the file really has, and a note if it states another.

    Some recorders state the samples of a lead, others those of all leads.
    """
    stored, rest = divmod(path.stat().st_size - offset, 2 * header.num_leads)
    stated = header.num_stated
    if stated <= 0 or (not rest and stated in (stored, stored * header.num_leads)):
        return stored, []
    per_lead = stated / header.num_leads
    if abs(per_lead - stored) < abs(stated - stored):
        stated = round(per_lead)
    problem = "truncated" if stored < stated else "wrong_length"
    detail = f"{path.name} holds {stored} of {stated} samples of each lead"
    if rest and stored == stated:
        detail += f", and {rest} further bytes"
    return stored, [Note(problem, f"{detail}.")]


def _checksum_notes(header: _Header, path: Path) -> list[Note]:
    """Returns a note if the header and its block contradict their CRC-CCITT; 0 is none."""
    if header.checksum == 0:
        return []
    left = _HEADER.size + max(header.block_bytes, 0) - _CHECKSUM_START
    checksum = 0xFFFF
    with path.open("rb") as stream:
        stream.seek(_CHECKSUM_START)
        while chunk := stream.read(min(left, _CHUNK_BYTES)):
            checksum = binascii.crc_hqx(chunk, checksum)
            left -= len(chunk)
    swapped = checksum >> 8 | (checksum & 0xFF) << 8
    if header.checksum in (checksum, swapped):
        return []
    detail = "The header contradicts its checksum; rate, gains and names of leads may be wrong."
    return [Note("checksum_mismatch", detail)]


def _order(header: _Header) -> list[int]:
    """Returns the entries of the header that describe the stored leads, in their order.

    These are the first ones, except in files that mark leads in between as absent.
    """
    first = list(range(header.num_leads))
    present = [index for index, code in enumerate(header.codes) if code != _ABSENT]
    return present if len(present) == header.num_leads else first


def _scales(
    resolutions_nv: list[int], names: tuple[str, ...], hints: Hints
) -> tuple[list[float | None], bool, list[Note]]:
    """Returns the millivolts per unit of each lead, None for leads that are excluded.

    A lead without a resolution is excluded, if others have one and the hints do not help.
    """
    scales = [_recording.scale("nV" if step > 0 else "", hints) for step in resolutions_nv]
    is_known = [known for _, known in scales]
    factors: list[float | None] = [
        factor * max(step, 1) for (factor, _), step in zip(scales, resolutions_nv, strict=True)
    ]
    step_mv = max([0.0, *(step * 1e-6 for step in resolutions_nv)])
    notes = list(_recording.loss_notes(rate_hz=1, step_mv=step_mv))
    if any(is_known) and not all(is_known):
        for row, name in enumerate(names):
            if not is_known[row]:
                factors[row] = None
                detail = "A lead has no resolution in volts and was excluded."
                notes.append(Note("wrong_units", detail, name or None))
    return factors, any(is_known), notes


def _patient_of(header: _Header) -> Patient:
    date = _date(header.date)
    hour, minute, second = header.clock
    try:
        clock = datetime.time(hour, minute, second)
        recorded_at = None if date is None else datetime.datetime.combine(date, clock)
    except ValueError:
        recorded_at = None
    return Patient(
        age_years=_patient.age_between(_date(header.born), date),
        male={1: True, 2: False}.get(header.sex),
        recorded_at=recorded_at,
    )


def _date(stated: tuple[int, ...]) -> datetime.date | None:
    day, month, year = stated
    return _patient.make_date(year, month, day) if year >= 1850 else None


def _read(
    path: Path,
    offset: int,
    num_leads: int,
    rows: list[int],
    factors: np.ndarray,
    length: int,
    start: int,
    num_samples: int,
) -> np.ndarray:
    """Returns a window in millivolts, float32 [L, num_samples], NaN for the smallest integer.

    Args:
        path: the file.
        offset: position of the first sample in bytes.
        num_leads: number of leads in the file.
        rows: leads to read.
        factors: millivolts per unit of these leads, float64 [L, 1].
        length: length of the recording in samples.
        start: first sample of the window.
        num_samples: length of the window in samples.
    """
    _recording.check_window(start, num_samples, length)
    position = offset + 2 * num_leads * start
    stored = np.fromfile(path, "<i2", num_leads * num_samples, offset=position)
    if len(stored) < num_leads * num_samples:
        raise Defect("truncated", f"{path.name} became shorter while it was read.")
    window = stored.reshape(num_samples, num_leads).T[rows]
    return _recording.as_float32(np.where(window == _MISSING, np.nan, window * factors))


FORMAT = Format(name="ISHNE", suffixes=(".ecg",), looks_like=looks_like, open=open_ishne)
