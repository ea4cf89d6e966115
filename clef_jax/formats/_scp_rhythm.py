"""Restores the samples of SCP-ECG's sections 5 and 6: the reference beat and the rhythm data.

A writer may subtract a reference beat, keep one of several samples outside the zones around the
beats (bimodal compression), take differences, and encode them by Huffman codes.
"""

import dataclasses
import functools
import struct
from collections.abc import Iterable, Sequence

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording, _scp_decimation, _scp_huffman, _scp_sections
from clef_jax.formats._recording import Hints, Note
from clef_jax.formats._scp_huffman import Table
from clef_jax.formats._scp_sections import Beats, Lead, Leads, Record

_HEAD = struct.Struct("<HHBB")
"""Step in nV, interval between samples in us, order of differences, and whether bimodal."""
_NO_BIMODAL_PROTOCOL = 30
"""Version of the protocol from which the flag of bimodal compression is reserved."""
_US_PER_S = 1_000_000


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Section 5 or 6."""

    step_nv: int
    """Size of a step of the integers; 0 if the file does not state it."""
    interval_us: int
    is_bimodal: bool
    values: tuple[np.ndarray, ...]
    """All values that each lead's data hold, after differences were undone, int64 [N]."""
    num_least: tuple[int, ...]
    """How many values each lead's data hold if the bits at their end are none."""

    def holds(self, counts: Iterable[int]) -> bool:
        """Returns whether the leads may have these numbers of values, or no data at all."""
        return all(
            not len(values) or least <= count <= len(values)
            for values, least, count in zip(self.values, self.num_least, counts, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """The samples of a record."""

    rows: np.ndarray
    """Float64 [L, T], in nanovolts, or in steps of the file if it does not state their size; NaN
    where a lead was not recorded."""
    sample_rate_hz: float
    step_nv: int
    notes: tuple[Note, ...]


def read(record: Record, leads: Leads, hints: Hints) -> Rhythm:
    """Returns the samples of a record.

    Raises:
        Defect: a section is missing or truncated, or its compression is none of the standard's.
    """
    tables = _scp_huffman.parse_tables(record.body(2), record.where)
    decode = functools.partial(_decode, record, leads=leads.leads, tables=tables)
    encoded = decode(_scp_sections.RHYTHM)
    beats, needs_reference, reference, factor = None, False, None, 1
    # Damaged beats are of no concern to rhythm data that do not need them.
    if leads.has_subtraction or encoded.is_bimodal:
        beats = _scp_sections.parse_beats(record)
        needs_reference = leads.has_subtraction and any(beat.type == 0 for beat in beats.beats)
    if needs_reference or encoded.is_bimodal:
        has_reference = bool(record.body(_scp_sections.REFERENCE))
        reference = decode(_scp_sections.REFERENCE) if has_reference else None
        factor = _factor(encoded, reference, leads, needs_reference, record.where)
    _check_span(leads.leads, record)
    interval_us, placed = encoded.interval_us, leads.leads
    notes = _missing_notes(encoded, placed)
    if factor > 1 and beats is not None and reference is not None:
        restored = _restore(encoded, placed, beats, factor, record.where)
        interval_us = reference.interval_us
        detail = f"Between beats, one of {factor} samples was stored; the others were interpolated."
        notes.append(Note("lossy_compression", detail))
    else:
        placed = _in_own_samples(encoded, placed, record)
        restored = _complete(encoded, placed, record.where, notes)
    scaled = [values * float(encoded.step_nv or 1) for values in restored]
    if needs_reference and beats is not None and reference is not None:
        _add_reference(scaled, placed, beats, encoded, reference, record.where)
    return Rhythm(
        rows=_place(scaled, placed),
        sample_rate_hz=_rate(interval_us, hints, record.where),
        step_nv=encoded.step_nv,
        notes=tuple(notes),
    )


def _decode(
    record: Record, number: int, leads: Sequence[Lead], tables: tuple[Table, ...]
) -> Encoded:
    """Returns section 5 or 6 with its differences undone."""
    body, where = record.body(number), record.where
    data_at = _HEAD.size + 2 * len(leads)
    if len(body) < data_at:
        raise Defect("truncated", f"Section {number} of {where} is truncated.")
    step_nv, interval_us, order, flag = _HEAD.unpack_from(body)
    if order > 2:
        detail = f"Section {number} of {where} has differences of the unknown order {order}."
        raise Defect("unreadable", detail)
    sizes = struct.unpack_from(f"<{len(leads)}H", body, _HEAD.size)
    if number == _scp_sections.RHYTHM and not tables:
        sizes = _long_sizes(sizes, leads, len(body) - data_at)
    if data_at + sum(sizes) > len(body):
        detail = (
            f"Section {number} of {where} is truncated: its leads have {sum(sizes):,} bytes, of "
            f"which it holds {len(body) - data_at:,}."
        )
        raise Defect("truncated", detail)
    values, num_least = [], []
    for size in sizes:
        part = body[data_at : data_at + size]
        data_at += size
        if tables:
            stored, least = _scp_huffman.decode(part, tables)
        else:
            stored = np.frombuffer(part, "<i2", len(part) // 2).astype(np.int64)
            least = len(stored)
        values.append(_undo_differences(stored, order))
        num_least.append(least)
    if not any(map(len, values)):
        raise Defect("empty", f"Section {number} of {where} holds no samples.")
    is_bimodal = flag == 1 and record.protocol < _NO_BIMODAL_PROTOCOL
    return Encoded(step_nv, interval_us, is_bimodal, tuple(values), tuple(num_least))


def _long_sizes(sizes: tuple[int, ...], leads: Sequence[Lead], held: int) -> tuple[int, ...]:
    """Returns the bytes of each lead, also of those that their two bytes cannot state."""
    actual = tuple(2 * lead.num_samples for lead in leads)
    wrapped = tuple(size & 0xFFFF for size in actual)
    return actual if wrapped == sizes and sum(actual) <= held else sizes


def _undo_differences(values: np.ndarray, order: int) -> np.ndarray:
    """Returns the samples of first or second differences, int64 [N].

    Samples have 16 bits, and so have the differences of many writers, which therefore wrap around.
    """
    if order == 1:
        values = np.cumsum(values)
    elif order == 2 and len(values) > 2:
        steps = np.cumsum(np.concatenate([values[1:2] - values[:1], values[2:]]))
        values = np.concatenate([values[:1], values[0] + np.cumsum(steps)])
    return values.astype(np.int16).astype(np.int64)


def _check_span(leads: Sequence[Lead], record: Record) -> None:
    """Raises Defect if the leads would take much more memory than the file."""
    span = max(lead.end for lead in leads) - min(lead.start for lead in leads) + 1
    what = f"The signal of {record.where}"
    _recording.check_size(8 * span * len(leads), record.stored_bytes, what)


def _missing_notes(encoded: Encoded, leads: Sequence[Lead]) -> list[Note]:
    """Returns a note for each lead without data."""
    pairs = zip(encoded.values, leads, strict=True)
    missing = [lead.name or None for values, lead in pairs if not len(values)]
    return [Note("missing_lead", "The lead has no data.", name) for name in missing]


def _factor(
    encoded: Encoded,
    reference: Encoded | None,
    leads: Leads,
    needs_reference: bool,
    where: str,
) -> int:
    """Returns how many samples of the reference beat one sample of the rhythm data stands for.

    Raises:
        Defect: the reference beat is missing, or the two rates do not fit.
    """
    if reference is None:
        is_whole = encoded.holds(lead.num_samples for lead in leads.leads)
        if is_whole and not needs_reference:
            return 1
        detail = f"{where} lacks the reference beat without which its samples cannot be restored."
        raise Defect("unreadable", detail)
    factor = encoded.interval_us / reference.interval_us if reference.interval_us else 0
    if factor < 1 or factor != int(factor):
        detail = (
            f"The samples of {where} cannot be restored: the rhythm data have one sample in "
            f"{encoded.interval_us} us, the reference beat one in {reference.interval_us} us."
        )
        raise Defect("unreadable", detail)
    return int(factor)


def _restore(
    encoded: Encoded, leads: Sequence[Lead], beats: Beats, factor: int, where: str
) -> list[np.ndarray]:
    """Returns the leads' samples, float64 [T], from decimated ones.

    Writers differ in what they decimate. The number of stored values says which it is.
    """
    zone_sets = [beats.protected] if encoded.is_bimodal else [beats.protected, ()]
    for zones in zone_sets:
        for copies_rest in (True, False):
            segments = [_scp_decimation.split(lead, zones) for lead in leads]
            layouts = [_scp_decimation.Layout(s, factor, copies_rest) for s in segments]
            if encoded.holds(layout.num_values for layout in layouts):
                pairs = zip(encoded.values, layouts, strict=True)
                return [
                    layout.restore(values) if len(values) else np.full(layout.num_samples, np.nan)
                    for values, layout in pairs
                ]
    detail = (
        f"The samples of {where} cannot be restored: its leads hold {len(encoded.values[0]):,} "
        f"values, which is not the number that a decimation by {factor} leaves."
    )
    raise Defect("wrong_length", detail)


def _in_own_samples(encoded: Encoded, leads: Sequence[Lead], record: Record) -> tuple[Lead, ...]:
    """Returns the leads with starts and ends that count the samples of the rhythm data.

    Some writers count the samples of the reference beat, which may have a higher rate.
    """
    body = record.body(_scp_sections.REFERENCE)
    interval_us = _HEAD.unpack_from(body)[1] if len(body) >= _HEAD.size else 0
    factor, rest = divmod(encoded.interval_us, interval_us) if interval_us else (1, 0)
    if factor > 1 and not rest:
        counted = [
            dataclasses.replace(
                lead, start=(lead.start - 1) // factor + 1, end=max(lead.end // factor, 1)
            )
            for lead in leads
        ]
        is_positive = all(lead.num_samples > 0 for lead in counted)
        if is_positive and encoded.holds(lead.num_samples for lead in counted):
            return tuple(counted)
    return tuple(leads)


def _complete(
    encoded: Encoded, leads: Sequence[Lead], where: str, notes: list[Note]
) -> list[np.ndarray]:
    """Returns the samples of each lead, [T]; raises Defect if there are too few."""
    rows = []
    for values, least, lead in zip(encoded.values, encoded.num_least, leads, strict=True):
        stored, stated = len(values), lead.num_samples
        rows.append(values[:stated] if stored else np.full(stated, np.nan))
        if 0 < stored < stated:
            detail = f"A lead of {where} ends after {stored:,} of {stated:,} samples."
            raise Defect("truncated", detail)
        if stored and stated < least:
            detail = f"A lead holds {stored:,} samples instead of {stated:,}."
            notes.append(Note("wrong_length", detail, lead.name or None))
    return rows


def _add_reference(
    rows: list[np.ndarray],
    leads: Sequence[Lead],
    beats: Beats,
    encoded: Encoded,
    reference: Encoded,
    where: str,
) -> None:
    """Adds the reference beat to the samples, in nanovolts, of all beats of type 0."""
    if not (encoded.step_nv and reference.step_nv):
        detail = f"{where} does not state the steps of its rhythm data and reference beat."
        raise Defect("unreadable", detail)
    length = beats.reference_ms * 1000 // max(reference.interval_us, 1)
    if not length:
        raise Defect("unreadable", f"{where} does not state the length of its reference beat.")
    for row, lead, values in zip(rows, leads, reference.values, strict=True):
        if len(values) < length:
            detail = f"A reference beat of {where} ends after {len(values)} of {length} samples."
            raise Defect("truncated", detail)
        added = values[:length] * float(reference.step_nv)
        for beat in beats.beats:
            # The recording's sample that coincides with the first one of the reference beat.
            origin = beat.fiducial - beats.reference_fiducial + 1
            first = max(beat.start, lead.start, origin)
            last = min(beat.end, lead.end, origin + length - 1)
            if beat.type == 0 and first <= last:
                part = added[first - origin : last - origin + 1]
                row[first - lead.start : last - lead.start + 1] += part


def _place(rows: list[np.ndarray], leads: Sequence[Lead]) -> np.ndarray:
    """Returns rows of equal length, float64 [L, T], with NaN where a lead was not recorded."""
    start = min(lead.start for lead in leads)
    placed = np.full((len(rows), max(lead.end for lead in leads) - start + 1), np.nan)
    for out, row, lead in zip(placed, rows, leads, strict=True):
        out[lead.start - start : lead.end - start + 1] = row
    return placed


def _rate(interval_us: int, hints: Hints, where: str) -> float:
    """Returns the sampling rate in Hz.

    The interval is stored in whole microseconds, so that 3906 us stand for 256 Hz.
    """
    if not interval_us:
        return _recording.check_rate(hints.sample_rate_hz, where)
    nearest = round(_US_PER_S / interval_us)
    exact = _US_PER_S / nearest if nearest else 0
    same = interval_us in (int(exact), round(exact))
    return float(nearest) if same else _US_PER_S / interval_us
