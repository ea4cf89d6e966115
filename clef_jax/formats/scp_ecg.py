"""Reads SCP-ECG files: the rhythm data, and the long-term data of version 3, are recordings.

Format: EN 1064 (2005 to 2020), ISO 11073-91064. Written here, because the packages that read it do
not restore bimodal compression, and because sizes must be bounded in damaged files.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import (
    _array,
    _limb_leads,
    _recording,
    _scp_header,
    _scp_long_term,
    _scp_rhythm,
    _scp_sections,
)
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient
from clef_jax.formats._scp_long_term import LongTerm
from clef_jax.formats._scp_sections import Leads, Record

_MV_PER_NV = 1e-6
_HEAD_BYTES = 64


def looks_like(path: Path) -> bool:
    """Returns whether a file begins with the pointers of an SCP-ECG record."""
    with path.open("rb") as stream:
        return _scp_sections.has_record_head(stream.read(_HEAD_BYTES))


def open_scp(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the rhythm data, and the long-term data if the file has them.

    The averaged reference beat is no recording; it is added to the rhythm data where it was
    subtracted from them. Damaged parts that neither signal needs are ignored.

    Raises:
        Defect: the file is malformed or truncated, or holds no rhythm data.
    """
    record = _scp_sections.read(path)
    patient, filters = _scp_header.parse(record.body(1))
    has_rhythm = bool(record.body(_scp_sections.RHYTHM))
    if has_rhythm:
        yield _open_rhythm(record, patient, filters, hints)
    long_term = _scp_long_term.parse(record)
    if long_term is not None:
        part = "long_term" if has_rhythm else ""
        yield _open_long_term(record, long_term, part, patient, filters)
    elif not has_rhythm and record.body(_scp_sections.REFERENCE):
        detail = f"{path.name} holds only an averaged beat, which was skipped."
        raise Defect("derived_series", detail)
    elif not has_rhythm:
        raise Defect("no_ecg_lead", f"{path.name} holds no rhythm data.")


def _open_rhythm(record: Record, patient: Patient, filters: str, hints: Hints) -> Opened:
    leads = _scp_sections.parse_leads(record)
    rhythm = _scp_rhythm.read(record, leads, hints)
    if rhythm.step_nv:
        factor, known = _MV_PER_NV, True
    else:
        factor, known = _recording.scale("", hints)
    names = tuple(lead.name for lead in leads.leads)
    is_calculated = tuple(lead.is_calculated for lead in leads.leads)
    kept, choice_notes = _choose(names, is_calculated)
    own = tuple(names[index] for index in kept)
    lead_names, name_notes = _recording.lead_names(own, hints, len(kept))
    rows, limb_notes = rhythm.rows[kept], ()
    group_notes = _group_notes(leads)
    if not group_notes:
        lead_names, rows, limb_notes = _limb_leads.complete(lead_names, rows)
    detail = "The averaged reference beat is no recording and was skipped."
    has_reference = bool(record.body(_scp_sections.REFERENCE))
    loss_notes = _recording.loss_notes(
        filters=filters, rate_hz=rhythm.sample_rate_hz, step_mv=rhythm.step_nv * _MV_PER_NV
    )
    return Opened(
        lead_names=lead_names,
        sample_rate_hz=rhythm.sample_rate_hz,
        num_samples=rows.shape[1],
        unit_known=known,
        read=functools.partial(_array.read, _recording.as_float32(rows * factor), 1.0),
        notes=(
            *record.notes,
            *rhythm.notes,
            *((Note("derived_series", detail),) if has_reference else ()),
            *(*choice_notes, *group_notes, *limb_notes, *name_notes, *loss_notes),
            *_recording.unit_notes(known),
        ),
        patient=patient,
    )


def _choose(
    names: Sequence[str], is_calculated: Sequence[bool]
) -> tuple[list[int], tuple[Note, ...]]:
    """Returns the leads to read, and a note on those that the device calculated.

    A calculated lead is read only if the file does not have the lead itself.
    """
    recorded = {name for name, is_it in zip(names, is_calculated, strict=True) if not is_it}
    calculated = [name for name, is_it in zip(names, is_calculated, strict=True) if is_it]
    kept = [
        index
        for index, (name, is_it) in enumerate(zip(names, is_calculated, strict=True))
        if not (is_it and name in recorded)
    ]
    detail = f"The device calculated the leads {', '.join(calculated)} from other leads."
    return kept, (Note("computed_lead", detail),) if calculated else ()


def _group_notes(leads: Leads) -> tuple[Note, ...]:
    """Returns a note if leads were recorded after each other, but the file does not say when."""
    starts = {lead.start for lead in leads.leads}
    if len(starts) > 1 or leads.group_size >= len(leads.leads):
        return ()
    detail = (
        f"Only {leads.group_size} leads at a time were recorded together; the file does not state "
        "the times of the others."
    )
    return (Note("not_simultaneous", detail),)


def _open_long_term(
    record: Record, data: LongTerm, part: str, patient: Patient, filters: str
) -> Opened:
    kept, choice_notes = _choose(data.names, data.is_calculated)
    own = tuple(data.names[index] for index in kept)
    lead_names, name_notes = _recording.lead_names(own, Hints(), len(kept))
    nothing = np.zeros((len(kept), 0))
    all_names, _, limb_notes = _limb_leads.complete(lead_names, nothing)
    step_mv = max(data.steps_nv) * _MV_PER_NV
    loss_notes = _recording.loss_notes(
        filters=filters, rate_hz=data.sample_rate_hz, step_mv=step_mv
    )

    def read(start: int, num_samples: int) -> np.ndarray:
        rows = data.read_nv(start, num_samples)[kept]
        return _recording.as_float32(_limb_leads.complete(lead_names, rows)[1] * _MV_PER_NV)

    if patient.recorded_at is None:
        patient = dataclasses.replace(patient, recorded_at=data.recorded_at)
    return Opened(
        part=part,
        lead_names=all_names,
        sample_rate_hz=data.sample_rate_hz,
        num_samples=len(data.samples),
        unit_known=True,
        read=read,
        notes=(*record.notes, *choice_notes, *limb_notes, *name_notes, *loss_notes),
        patient=patient,
    )


FORMAT = Format(name="SCP-ECG", suffixes=(".scp", ".ecg", ""), looks_like=looks_like, open=open_scp)
