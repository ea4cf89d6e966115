"""Splits an SCP-ECG record into its sections, and parses those that describe the signal.

Numbers of samples in this format begin at 1 and include the last one.
"""

import binascii
import dataclasses
import itertools
import struct
from pathlib import Path

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Note

POINTERS, LEADS, BEATS, REFERENCE, RHYTHM, LONG_TERM = 0, 3, 4, 5, 6, 12
"""Numbers of sections. The long-term section exists since version 3."""
_SIGNAL_SECTIONS = (2, LEADS, BEATS, REFERENCE, RHYTHM)
"""Sections that must be where they are said to be; others are ignored if they are not."""
_MAX_FILE_BYTES = 1 << 30
_RECORD_HEAD = struct.Struct("<HI")
"""Checksum and length of the record."""
_HEAD = struct.Struct("<HHIBB6s")
"""Head of a section: checksum, number, length, version of section and protocol, reserved bytes."""
_POINTER = struct.Struct("<HII")
"""Number, length and first byte, counted from 1, of a section."""
_LEAD = struct.Struct("<IIB")
_BEAT = struct.Struct("<HIII")
_ZONE = struct.Struct("<II")
_CALCULATED_FIRST = 31
_NAMES = (
    *("", "I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "V7"),
    *("V2R", "V3R", "V4R", "V5R", "V6R", "V7R", "X", "Y", "Z", "CC5", "CM5"),
    *("LA", "RA", "LL", "fI", "fE", "fC", "fA", "fM", "fF", "fH"),
)
"""Names of leads 0 to 30; leads 31 to 60 are leads 1 to 30, calculated from others."""
_LATER = {
    **dict(enumerate(("III", "aVR", "aVL", "aVF", "-aVR", "V8", "V9", "V8R", "V9R"), start=61)),
    **dict(enumerate(("D", "A", "J", "Defib", "ExtPace", "A1", "A2", "A3", "A4"), start=70)),
    **dict(enumerate(("Chest", "V", "VR", "VL", "VF", "MCL"), start=86)),
    **dict(enumerate((f"MCL{n}" for n in range(1, 7)), start=92)),
    **dict(enumerate(("CC", "CC1", "CC2", "CC3", "CC4", "CC6", "CC7"), start=98)),
    **dict(enumerate(("CM", "CM1", "CM2", "CM3", "CM4", "CM6"), start=105)),
    **dict(enumerate(("CM7", "CH5", "CS5", "CB5", "CR5", "ML"), start=121)),
    **dict(enumerate(("AB1", "AB2", "AB3", "AB4", "E-S", "A-S", "A-I"), start=127)),
}
"""Names of leads that later versions added; MDC's codes of leads have the same numbers."""
_LATER_CALCULATED = {
    **dict(enumerate(("V8", "V9", "V8R", "V9R", "D", "A", "J"), start=79)),
    **dict(enumerate(("III", "aVR", "aVL", "aVF", "-aVR"), start=111)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """The sections of a file."""

    where: str
    """The file's name."""
    bodies: dict[int, bytes]
    """Contents of the sections that are not empty by number, without their heads."""
    protocol: int
    """Version of the protocol times 10; 0 if the file does not state it."""
    stored_bytes: int
    notes: tuple[Note, ...]

    def body(self, number: int) -> bytes:
        """Returns the content of a section; empty if the record does not have it."""
        return self.bodies.get(number, b"")


@dataclasses.dataclass(frozen=True)
class Lead:
    """A lead of the rhythm data, and which samples of the recording it has."""

    name: str
    is_calculated: bool
    start: int
    end: int

    @property
    def num_samples(self) -> int:
        return self.end - self.start + 1


@dataclasses.dataclass(frozen=True)
class Leads:
    """The leads of a record."""

    leads: tuple[Lead, ...]
    has_subtraction: bool
    """Whether a reference beat was subtracted from the rhythm data."""
    group_size: int
    """Number of leads that were recorded at the same time."""


@dataclasses.dataclass(frozen=True)
class Beat:
    """Position of a detected beat; beats of type 0 had the reference beat subtracted."""

    type: int
    start: int
    fiducial: int
    end: int


@dataclasses.dataclass(frozen=True)
class Beats:
    """The beats of a record."""

    reference_ms: int
    """Length of the reference beat."""
    reference_fiducial: int
    """Sample of the reference beat that is aligned with the fiducial samples of the beats."""
    beats: tuple[Beat, ...]
    protected: tuple[tuple[int, int], ...]
    """First and last samples of the zones that were not decimated."""


def has_record_head(data: bytes) -> bool:
    """Returns whether a file that begins with these bytes is an SCP-ECG record.

    The first section holds the pointers to all sections, and the first of them points to itself.
    """
    first = _RECORD_HEAD.size
    if len(data) < first + _HEAD.size + _POINTER.size:
        return False
    _, number, length, _, _, reserved = _HEAD.unpack_from(data, first)
    pointer = _POINTER.unpack_from(data, first + _HEAD.size)
    points_to_itself = pointer == (POINTERS, length, first + 1) and number == POINTERS
    return points_to_itself or (reserved == b"SCPECG" and number == POINTERS)


def read(path: Path) -> Record:
    """Returns the sections of a file, after their lengths and checksums were compared.

    Raises:
        Defect: the file is too large or truncated, or sections overlap or exceed the file.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 1 GiB, the largest size of a record.")
    data, where = path.read_bytes(), path.name
    if len(data) < _RECORD_HEAD.size + _HEAD.size:
        raise Defect("truncated", f"{where} ends in the head of the record.")
    checksum, stated = _RECORD_HEAD.unpack_from(data)
    notes = []
    if stated != len(data):
        problem = "truncated" if stated > len(data) else "wrong_length"
        detail = f"{where} has {len(data):,} bytes, but states {stated:,}."
        notes.append(Note(problem, detail))
    wrong = [] if _is_right(checksum, data[2 : max(stated, 2)]) else ["the record"]
    _, number, length, _, protocol, _ = _HEAD.unpack_from(data, _RECORD_HEAD.size)
    if number != POINTERS:
        raise Defect("unreadable", f"{where} does not begin with the pointers to its sections.")
    spans = _spans(data, length, where)
    bodies = {}
    for number, (start, end) in spans.items():
        checksum, own, own_length, *_ = _HEAD.unpack_from(data, start)
        if own != number and number not in _SIGNAL_SECTIONS:
            continue
        if own != number:
            detail = f"{where} has section {own} where section {number} should be."
            raise Defect("unreadable", detail)
        end = _section_end(number, start, end, own_length, where, notes)
        bodies[number] = data[start + _HEAD.size : end]
        if not _is_right(checksum, data[start + 2 : end]):
            wrong.append(f"section {number}")
    if wrong:
        detail = f"Checksums contradict the data of {', '.join(wrong)}; samples may be wrong."
        notes.append(Note("checksum_mismatch", detail))
    return Record(
        where=where,
        bodies=bodies,
        protocol=protocol,
        stored_bytes=len(data),
        notes=tuple(notes),
    )


def _is_right(checksum: int, data: bytes) -> bool:
    """Returns whether a CRC-CCITT is that of the data; some devices swap its bytes."""
    actual = binascii.crc_hqx(data, 0xFFFF)
    return checksum in (actual, int.from_bytes(actual.to_bytes(2, "little"), "big"))


def _spans(data: bytes, length: int, where: str) -> dict[int, tuple[int, int]]:
    """Returns first and last byte + 1 of all sections that are not empty, except the pointers."""
    first = _RECORD_HEAD.size
    if not _HEAD.size <= length <= len(data) - first:
        detail = f"{where} states {length:,} bytes for the pointers, more than it holds."
        raise Defect("truncated", detail)
    spans: dict[int, tuple[int, int]] = {}
    for at in range(first + _HEAD.size, first + length - _POINTER.size + 1, _POINTER.size):
        number, size, index = _POINTER.unpack_from(data, at)
        if number == POINTERS or size == 0:
            continue
        span = (index - 1, index - 1 + size)
        if span[0] < first + length or size < _HEAD.size or span[1] > len(data):
            if number in _SIGNAL_SECTIONS:
                problem = "truncated" if span[1] > len(data) else "unreadable"
                detail = (
                    f"{where} places section {number} at bytes {index:,} to {span[1]:,}, but has "
                    f"{len(data):,} bytes, of which the sections begin at {first + length + 1:,}."
                )
                raise Defect(problem, detail)
            continue
        if spans.setdefault(number, span) != span:
            raise Defect("unreadable", f"{where} has two pointers to a section {number}.")
    _check_overlap({n: s for n, s in spans.items() if n in _SIGNAL_SECTIONS}, where)
    return {n: s for n, s in spans.items() if n <= LONG_TERM}


def _check_overlap(spans: dict[int, tuple[int, int]], where: str) -> None:
    """Raises Defect if sections share bytes."""
    ordered = sorted(spans.items(), key=lambda item: item[1])
    for (one, first), (other, second) in itertools.pairwise(ordered):
        if second[0] < first[1]:
            raise Defect("unreadable", f"Sections {one} and {other} of {where} overlap.")


def _section_end(
    number: int, start: int, end: int, own_length: int, where: str, notes: list[Note]
) -> int:
    """Returns where a section ends by the shorter of its two lengths; a difference is noted."""
    if own_length == end - start:
        return end
    detail = (
        f"Section {number} of {where} has {own_length:,} bytes by its head, and {end - start:,} "
        "by its pointer."
    )
    notes.append(Note("wrong_length", detail))
    return end if own_length < _HEAD.size else min(end, start + own_length)


def parse_leads(record: Record) -> Leads:
    """Returns the leads of section 3.

    Raises:
        Defect: the section is missing or truncated, or a lead has no samples.
    """
    body = record.body(LEADS)
    if len(body) < 2:
        raise Defect("no_ecg_lead", f"{record.where} does not define leads.")
    count, flags = body[0], body[1]
    if count > _recording.MAX_LEADS:
        raise Defect(
            "lead_count", f"{record.where} is not an ECG: it has {counted(count, 'lead')}."
        )
    if len(body) < 2 + count * _LEAD.size:
        raise Defect("truncated", f"The definition of leads of {record.where} is truncated.")
    leads = []
    for at in range(2, 2 + count * _LEAD.size, _LEAD.size):
        start, end, code = _LEAD.unpack_from(body, at)
        name, is_calculated = lead_name(code)
        if start > end:
            detail = f"A lead of {record.where} has samples {start:,} to {end:,}."
            raise Defect("wrong_length", detail)
        leads.append(Lead(name, is_calculated, start, end))
    if not leads:
        raise Defect("no_ecg_lead", f"{record.where} defines no leads.")
    # Many devices leave both at 0, also for leads that were recorded together.
    group_size = count if flags & 4 else flags >> 3 or count
    return Leads(tuple(leads), bool(flags & 1), group_size)


def lead_name(code: int) -> tuple[str, bool]:
    """Returns the name of a lead's code, and whether it is calculated; empty if it is unknown."""
    if code < len(_NAMES):
        return _NAMES[code], False
    if code < _CALCULATED_FIRST + len(_NAMES) - 1:
        return _NAMES[code - _CALCULATED_FIRST + 1], True
    if code in _LATER_CALCULATED:
        return _LATER_CALCULATED[code], True
    return _LATER.get(code, ""), False


def parse_beats(record: Record) -> Beats:
    """Returns the beats of section 4; raises Defect if it is missing or truncated."""
    body = record.body(BEATS)
    length_ms, fiducial, count = struct.unpack_from("<HHH", body.ljust(6, b"\0"))
    zones_at = 6 + count * _BEAT.size
    if len(body) < zones_at:
        detail = f"The list of beats of {record.where} is missing or truncated."
        raise Defect("truncated", detail)
    beats = [Beat(*fields) for fields in _BEAT.iter_unpack(body[6:zones_at])]
    protected = []
    if len(body) >= zones_at + count * _ZONE.size:
        zones = _ZONE.iter_unpack(body[zones_at : zones_at + count * _ZONE.size])
        protected = [(start, end) for start, end in zones]
    return Beats(length_ms, fiducial, tuple(beats), tuple(protected))
