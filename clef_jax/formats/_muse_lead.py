"""Decodes the leads of GE MUSE XML files, and aligns leads that begin at different times.

Shapes: L leads, T time.
"""

import base64
import binascii
import dataclasses
import re
import zlib
from xml.etree.ElementTree import Element

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _ge_xml, _recording
from clef_jax.formats._recording import Hints, Note

_DECIMAL = re.compile(r"[-+\d.,\s]{9,}")
"""Numbers in words of digits, which some converters write instead of base64."""
_INTEGER = re.compile(r"[-+]?\d{1,10}", re.ASCII)
_DEFAULT_UNIT = "MICROVOLTS"
_SAMPLE_BYTES = (1, 2, 4)
_COUNT_MODULUS = 1 << 16
"""Numbers of bytes have 16 bits, so that those of long leads are stored without higher digits."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Lead:
    """A decoded lead."""

    name: str
    samples: np.ndarray
    """Samples in millivolts if the unit is known, float32 [T]; NaN where missing."""
    unit_known: bool
    step_mv: float
    """Size of a step of the stored integers, in millivolts."""
    start: tuple[float, float]
    """LeadOffsetFirstSample and LeadTimeOffset as stored; (0, 0) in usual files."""
    notes: tuple[Note, ...]


def read(element: Element, hints: Hints, where: str) -> Lead:
    """Returns the lead of a `LeadData` element. Without samples, the lead is empty and has a note.

    Raises:
        Defect: the samples are damaged, or contradict the size or unit that the lead states.
    """
    name = _ge_xml.text(element, "LeadID")
    data = _ge_xml.text(element, "WaveFormData")
    stored, notes = np.zeros(0, np.int16), []
    if data:
        payload = _decode(element, data, name, where)
        stored = _integers(element, payload, name, where)
        notes += _checksum_notes(element, payload, name)
    else:
        notes.append(Note("missing_lead", f"The lead {name} has no samples.", name or None))
    if _ge_xml.text(element, "LeadOff").upper() == "TRUE":
        detail = f"The device reported that an electrode of lead {name} was off."
        notes.append(Note("lead_off", detail, name or None))
    if _recording.parse_number(_ge_xml.text(element, "FirstSampleBaseline")):
        detail = f"The baseline that the file states for lead {name} was not applied."
        notes.append(Note("baseline_offset", detail, name or None))
    factor, known = _factor(element, hints, where)
    values = _recording.as_float32(stored * factor)
    values[_impossible(element, stored)] = np.nan
    offset, delay = (
        _ge_xml.number(element, tag, where) or 0.0
        for tag in ("LeadOffsetFirstSample", "LeadTimeOffset")
    )
    return Lead(
        name=name,
        samples=values,
        unit_known=known,
        step_mv=factor,
        start=(offset, delay),
        notes=tuple(notes),
    )


def _decode(element: Element, data: str, name: str, where: str) -> bytes:
    """Returns the bytes of a text in base64, which may lack its padding, or of integers in words of
    digits between commas or spaces."""
    compact = "".join(data.split())
    try:
        if _DECIMAL.fullmatch(data):
            texts = data.replace("\n", ",").split(",") if "," in data else data.split()
            texts = [text.strip() for text in texts if text.strip()]
            if len(texts) < 2 or not all(map(_INTEGER.fullmatch, texts)):
                raise ValueError
            return _pack(element, np.array(texts, np.int64))
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        detail = f"The samples of lead {name} in {where} are neither base64 nor integers."
        raise Defect("unreadable", detail) from None


def _pack(element: Element, values: np.ndarray) -> bytes:
    """Returns the bytes that a lead would store for integers; raises ValueError if they exceed its
    size of a sample."""
    width = _ge_xml.text(element, "LeadSampleSize")
    kind = np.dtype(f"<i{width if width in ('1', '4') else 2}")
    packed = values.astype(kind)
    if np.any(packed != values):
        raise ValueError
    return packed.tobytes()


def _integers(element: Element, payload: bytes, name: str, where: str) -> np.ndarray:
    """Returns the stored integers after comparing their number with what the lead states."""
    num_bytes = _ge_xml.count(element, "LeadByteCountTotal", where)
    num_samples = _ge_xml.count(element, "LeadSampleCountTotal", where)
    width = _ge_xml.count(element, "LeadSampleSize", where)
    if width is None:
        width = num_bytes // num_samples if num_bytes and num_samples else 2
    if width not in _SAMPLE_BYTES:
        detail = f"Lead {name} of {where} has samples of {width} bytes, which are not read."
        raise Defect("unsupported_layout", detail)
    found = len(payload) // width
    wanted = found if num_samples is None else num_samples
    if found < wanted:
        detail = f"Lead {name} of {where} states {wanted} samples, but has {found}."
        raise Defect("truncated", detail)
    contradicts = num_bytes is not None and (num_bytes - len(payload)) % _COUNT_MODULUS
    if found > wanted or len(payload) % width or contradicts:
        detail = f"Lead {name} of {where} has {len(payload)} bytes, which is not what it states."
        raise Defect("header_mismatch", detail)
    return np.frombuffer(payload, f"<i{width}")


def _checksum_notes(element: Element, payload: bytes, name: str) -> list[Note]:
    """Returns a note if the bytes contradict the lead's CRC-32; 0 and empty texts state none."""
    stated = _ge_xml.text(element, "LeadDataCRC32")
    wrong = stated.isdecimal() and int(stated[:20]) not in (0, zlib.crc32(payload))
    detail = f"The samples of lead {name} contradict the checksum in the file."
    return [Note("checksum_mismatch", detail, name or None)] if wrong else []


def _factor(element: Element, hints: Hints, where: str) -> tuple[float, bool]:
    """Returns the millivolts per stored integer and whether they are known."""
    step = _ge_xml.number(element, "LeadAmplitudeUnitsPerBit", where)
    if step is None:
        return _recording.scale("", hints)
    if not step > 0:
        raise Defect("wrong_units", f"{where} states an invalid size of a step: {step:g}.")
    unit = _ge_xml.text(element, "LeadAmplitudeUnits") or _DEFAULT_UNIT
    factor, known = _recording.scale(unit, hints)
    return step * factor, known


def _impossible(element: Element, stored: np.ndarray) -> np.ndarray:
    """Returns a mask, bool [T], of integers outside the stated limits, or the smallest of all.

    Limits that exclude 0 are not those of a signal, and some writers state such ones.
    """
    high = _recording.parse_number(_ge_xml.text(element, "LeadHighLimit"))
    low = _recording.parse_number(_ge_xml.text(element, "LeadLowLimit"))
    mask = stored == np.iinfo(stored.dtype).min
    if high is not None and low is not None and low < 0 < high:
        mask |= (stored > high) | (stored < low)
    return mask


def align(leads: list[Lead], where: str) -> np.ndarray:
    """Returns the samples of all leads, float32 [L, T].

    Raises:
        Defect: the leads differ in length, or begin at different times.
    """
    starts = {lead.start for lead in leads}
    if len(starts) > 1 or any(offset for offset, _ in starts):
        detail = f"Leads of {where} begin later than their data or than others, which is not read."
        raise Defect("unsupported_layout", detail)
    lengths = sorted({len(lead.samples) for lead in leads})
    if len(lengths) > 1:
        detail = f"A waveform of {where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    return np.stack([lead.samples for lead in leads])
