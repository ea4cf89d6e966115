"""Small whole SCP-ECG records, and the encoder of all ways to store the samples (EN 1064).

The encoder works on texts of bits and on lists, sample by sample.
"""

import binascii
import dataclasses
import itertools
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from fuzz_seeds import ADC, Seed

ESCAPE_8, ESCAPE_16 = "1111111110", "1111111111"
NO_SWITCH, SWITCH = 1, 0


@dataclasses.dataclass(frozen=True)
class Word:
    """A line of a Huffman table."""

    prefix: str
    """Bits in the order in which they are sent."""
    value: int
    """The value, or the number of the table from 1 if `mode` is `SWITCH`."""
    extra_bits: int = 0
    """Bits of the two's complement that follows and is added to the value."""
    mode: int = NO_SWITCH


def standard_table() -> list[Word]:
    """Returns the standard's table, Annex C, written out."""
    words = [Word("0", 0)]
    for magnitude in range(1, 9):
        words.append(Word("1" * magnitude + "00", magnitude))
        words.append(Word("1" * magnitude + "01", -magnitude))
    # The first line of a magnitude of 8 has ten bits, as have the two escapes.
    return [*words, Word(ESCAPE_8, 0, 8), Word(ESCAPE_16, 0, 16)]


def two_tables() -> tuple[tuple[Word, ...], ...]:
    """Returns two tables that switch to each other; the second one has a value of its own."""
    first = (Word("0", 2, mode=SWITCH), Word("1", 0, 16))
    second = (Word("1", 1, mode=SWITCH), Word("00", 0), Word("010", -1, 8), Word("011", 0, 16))
    return first, second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A reference beat that is subtracted from the samples of some beats."""

    samples: np.ndarray
    """Integers, [L, samples of the beat]."""
    fiducial: int
    """Sample of the beat, from 1, that is put on each beat's fiducial sample."""
    beats: tuple[tuple[int, int, int, int], ...]
    """Type, first, fiducial and last sample of each beat, from 1."""
    protected: tuple[tuple[int, int], ...] = ()
    """First and last sample of the zone around each beat that is not decimated."""
    step_nv: int = 5000
    interval_us: int = 2000
    is_subtracted: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a record is written."""

    codes: tuple[int, ...] = (1, 2)
    """Codes of the leads."""
    step_nv: int = 5000
    interval_us: int = 2000
    order: int = 2
    """Order of the differences."""
    tables: tuple[tuple[Word, ...], ...] | None = ()
    """Huffman tables; none stands for the standard's, and None for no encoding."""
    switch_every: int = 0
    """Number of samples after which the next table is switched to; 0 to stay with the first."""
    reference: Reference | None = None
    factor: int = 1
    """Decimation between the protected zones."""
    keeps_zones: bool = True
    """Whether the protected zones are not decimated."""
    is_bimodal: bool | None = None
    """What the file states; by default whether there is a decimation."""
    starts: tuple[int, ...] = ()
    """First sample of each lead; by default 1."""
    lead_flags: int = 4
    fields: tuple[tuple[int, bytes], ...] = ()
    """Tags and contents of the header."""
    protocol: int = 20
    long_term: bytes = b""
    """Content of section 12."""


def record(samples: np.ndarray | None, options: Options | None = None) -> bytes:
    """Returns a record.

    Args:
        samples: integers, [L, T], or a list of leads of different lengths; None for no rhythm data.
        options: how it is written.
    """
    options = options or Options()
    sections = {1: header(options.fields)}
    if options.tables is not None:
        sections[2] = huffman_tables(options.tables)
    if samples is not None:
        rows = [np.asarray(row, np.int64) for row in samples]
        starts = options.starts or (1,) * len(rows)
        sections[3] = _leads(rows, starts, options)
        if options.reference is not None:
            sections[4] = _beats(options.reference)
            sections[5] = _signal(
                list(options.reference.samples),
                options.reference.step_nv,
                options.reference.interval_us,
                0,
                options,
            )
            if options.reference.is_subtracted:
                rows = [
                    _residual(row, start, number, options)
                    for number, (row, start) in enumerate(zip(rows, starts, strict=True))
                ]
        if options.factor > 1:
            reference = options.reference
            zones = reference.protected if reference and options.keeps_zones else ()
            rows = [decimate(row, zones, options.factor) for row in rows]
        is_bimodal = options.factor > 1 if options.is_bimodal is None else options.is_bimodal
        interval_us = options.interval_us * options.factor
        sections[6] = _signal(rows, options.step_nv, interval_us, int(is_bimodal), options)
    if options.long_term:
        sections[12] = options.long_term
    return assemble(sections, options.protocol)


def header(fields: Sequence[tuple[int, bytes]]) -> bytes:
    """Returns section 1: tags, lengths and contents, and the tag 255."""
    parts = [struct.pack("<BH", tag, len(content)) + content for tag, content in fields]
    return b"".join(parts) + struct.pack("<BH", 255, 0)


def huffman_tables(tables: Sequence[Sequence[Word]]) -> bytes:
    """Returns section 2."""
    if not tables:
        return struct.pack("<H", 19999)
    content = struct.pack("<H", len(tables))
    for table in tables:
        content += struct.pack("<H", len(table))
        for word in table:
            bits = len(word.prefix)
            reverse = int(word.prefix[::-1], 2)
            lengths = (bits, bits + word.extra_bits)
            content += struct.pack("<BBBhI", *lengths, word.mode, word.value, reverse)
    return content


def _leads(rows: list[np.ndarray], starts: Sequence[int], options: Options) -> bytes:
    reference = options.reference
    is_subtracted = reference is not None and reference.is_subtracted
    content = bytes([len(rows), options.lead_flags | is_subtracted])
    for row, start, code in zip(rows, starts, options.codes, strict=True):
        content += struct.pack("<IIB", start, start + len(row) - 1, code)
    return content


def _beats(reference: Reference) -> bytes:
    length_ms = reference.samples.shape[1] * reference.interval_us // 1000
    content = struct.pack("<HHH", length_ms, reference.fiducial, len(reference.beats))
    for beat in reference.beats:
        content += struct.pack("<HIII", *beat)
    for zone in reference.protected:
        content += struct.pack("<II", *zone)
    return content


def _residual(row: np.ndarray, start: int, number: int, options: Options) -> np.ndarray:
    """Returns a lead without the reference beat, which the caller scales to whole steps."""
    reference = options.reference
    assert reference is not None
    residual, scale = row.tolist(), reference.step_nv / options.step_nv
    for kind, first, fiducial, last in reference.beats:
        for sample in range(first, last + 1):
            at = sample - fiducial + reference.fiducial
            is_in_lead = start <= sample < start + len(row)
            if kind == 0 and is_in_lead and 1 <= at <= reference.samples.shape[1]:
                residual[sample - start] -= round(reference.samples[number, at - 1] * scale)
    return np.array(residual)


def decimate(row: np.ndarray, zones: Sequence[tuple[int, int]], factor: int) -> np.ndarray:
    """Returns a lead that begins with sample 1, of which means are kept between the zones.

    The samples after the last whole group before a zone are kept.
    """
    kept: list[int] = []
    group: list[int] = []
    for number, value in enumerate(row.tolist(), start=1):
        if any(first <= number <= last for first, last in zones):
            kept += [*group, value]
            group = []
            continue
        group.append(value)
        if len(group) == factor:
            kept.append(round(sum(group) / factor))
            group = []
    return np.array(kept + group)


def _signal(
    rows: Sequence[np.ndarray], step_nv: int, interval_us: int, flag: int, options: Options
) -> bytes:
    """Returns section 5 or 6."""
    coded = [_encode(_differences(row.tolist(), options.order), options) for row in rows]
    content = struct.pack("<HHBB", step_nv, interval_us, options.order, flag)
    content += b"".join(struct.pack("<H", len(data) & 0xFFFF) for data in coded)
    return content + b"".join(coded)


def _differences(values: list[int], order: int) -> list[int]:
    """Returns differences; the first one or two values stay as they are."""
    if order == 1:
        return values[:1] + [b - a for a, b in itertools.pairwise(values)]
    if order == 2:
        triples = zip(values, values[1:], values[2:], strict=False)
        return values[:2] + [c - 2 * b + a for a, b, c in triples]
    return values


def _encode(values: list[int], options: Options) -> bytes:
    """Returns the data of a lead, with an even number of bytes."""
    wrapped = [(value + 32768) % 65536 - 32768 for value in values]
    if options.tables is None:
        return struct.pack(f"<{len(wrapped)}h", *wrapped)
    bits = "".join(_words(wrapped, options))
    bits += "0" * (-len(bits) % 16)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def _words(values: list[int], options: Options) -> Iterator[str]:
    tables = options.tables or (tuple(standard_table()),)
    current = 0
    for number, value in enumerate(values):
        if options.switch_every and number and number % options.switch_every == 0:
            following = (current + 1) % len(tables)
            switches = [word for word in tables[current] if word.mode == SWITCH]
            yield next(word.prefix for word in switches if word.value == following + 1)
            current = following
        yield _word(value, tables[current])


def _word(value: int, table: Sequence[Word]) -> str:
    """Returns the bits of a value by the first line that can express it."""
    for word in table:
        rest = value - word.value
        limit = 1 << (word.extra_bits - 1) if word.extra_bits else 0
        if word.mode == SWITCH or not (rest == 0 or -limit <= rest < limit):
            continue
        extra = format(rest % (1 << word.extra_bits), f"0{word.extra_bits}b")
        return word.prefix + (extra if word.extra_bits else "")
    raise ValueError(f"No code for {value}.")


def assemble(sections: dict[int, bytes], protocol: int = 20) -> bytes:
    """Returns a record of sections by number, with pointers, heads and checksums."""
    count = max(12, max(sections) + 1)
    place, pointers, body = 6 + 16 + 10 * count, b"", b""
    pointers += struct.pack("<HII", 0, 16 + 10 * count, 7)
    for number in range(1, count):
        content = sections.get(number, b"")
        content += bytes(len(content) % 2)
        size = len(content) + 16 if content else 0
        index = place + len(body) + 1 if content else 0
        pointers += struct.pack("<HII", number, size, index)
        body += section(number, content, protocol) if content else b""
    data = section(0, pointers, protocol, b"SCPECG") + body
    return seal(struct.pack("<HI", 0, 6 + len(data)) + data)


def section(number: int, content: bytes, protocol: int = 20, reserved: bytes = b"") -> bytes:
    """Returns a section with its head."""
    head = struct.pack("<HIBB6s", number, 16 + len(content), protocol, protocol, reserved)
    return struct.pack("<H", binascii.crc_hqx(head + content, 0xFFFF)) + head + content


def seal(data: bytes) -> bytes:
    """Returns a record with the checksum of the whole."""
    return struct.pack("<H", binascii.crc_hqx(data[2:], 0xFFFF)) + data[2:]


def long_term(
    samples: np.ndarray, codes: Sequence[int], steps_nv: Sequence[int], rate_hz: int, width: int
) -> bytes:
    """Returns section 12 as BioSig writes it, of integers [L, T] that have `width` bytes."""
    head = struct.pack("<IBIB", rate_hz, len(samples), samples.shape[1], width)
    head += struct.pack("<HBBBBB", 2026, 3, 1, 10, 20, 30)
    content = head.ljust(70, b"\0")
    for code, step_nv in zip(codes, steps_nv, strict=True):
        content += struct.pack("<BHB", code, step_nv, 0)
    for column in samples.T.tolist():
        for value in column:
            content += (value % (1 << (8 * width))).to_bytes(width, "little")
    return content


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    rows = np.stack([ADC, np.roll(ADC, 40)]).astype(np.int64) // 5
    beat = rows[:, 100:200]
    beats = tuple((0, at - 49, at, at + 50) for at in (151, 551, 951))
    zones = tuple((at - 30, at + 29) for at in (151, 551, 951))
    reference = Reference(samples=beat, fiducial=50, beats=beats, protected=zones)
    fields = ((4, b"\x3f\0\1"), (8, b"\1"), (25, b"\xea\7\3\1"), (26, b"\x0a\0\0"), (27, b"\5\0"))
    variants = (
        record(rows, Options(fields=fields)),
        record(rows, Options(tables=None, order=0, codes=(1, 61))),
        record(rows, Options(tables=two_tables(), switch_every=7, order=1)),
        record(rows, Options(reference=reference)),
        record(rows, Options(reference=reference, factor=4, fields=fields)),
        record(None, Options(long_term=long_term(rows, (1, 2), (5000, 5000), 500, 3), protocol=30)),
    )
    return [Seed("x.scp", {"x.scp": content}) for content in variants]
