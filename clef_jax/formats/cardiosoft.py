"""Reads GE CardioSoft and CASE XML files: every strip, and the full disclosure, is a recording.

This reader is our own, because no library that reads the format knows its full disclosure, and the
format is a list of numbers.

Format: `CardiologyXML` documents of CardioSoft 6 and later. `StripData` has the samples of each
lead apart, and exercise tests have several strips. `FullDisclosure` has the leads mixed, at a rate
and resolution of its own. Median beats and vector loops are not recordings.
"""

import datetime
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import (
    _array,
    _cardiosoft_samples,
    _ge_xml,
    _limb_leads,
    _patient,
    _recording,
    _xml,
)
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_ROOT = "CardiologyXML"
_DERIVED = ("median", "vectorloops", "trend")
"""Beginnings of the names of elements that hold averaged beats."""
_PER_STEP = re.compile(r"\s*(?:per|/)\s*(?:lsb|bit|digit|step)s?\s*$", re.IGNORECASE)
_FIRST_YEAR = 1900
"""Years before it stand for dates that are not known."""
_YES = ("yes", "ja", "oui", "si", "sí", "sim", "true", "on", "ein", "1")

Ancestry = tuple[Element, ...]
"""An element and those that contain it, from the inside out."""
Leads = tuple[tuple[str, ...], np.ndarray, list[Note]]
"""Names, stored integers as float32 [L, T], and notes."""


def looks_like(path: Path) -> bool:
    """Returns whether a document is, or wraps, a CardioSoft document."""
    return _ge_xml.has_element(path, _ROOT)


def open_cardiosoft(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each strip, and one for the full disclosure, of a file.

    Raises:
        Defect: the file is malformed or truncated, declares entities, or holds no rhythm.
    """
    root = _xml.parse(path, may_name_type=True)
    strips, disclosures, num_medians = _find(root)
    if not strips and not disclosures:
        if num_medians:
            raise Defect("derived_series", f"{path.name} holds only median beats.")
        raise Defect("no_ecg_lead", f"{path.name} holds neither strips nor a full disclosure.")
    detail = f"Median beats were skipped; the file has {num_medians} with samples."
    notes = (Note("derived_series", detail),) if num_medians else ()
    single = len(strips) + len(disclosures) == 1
    for kind, found, read in (
        ("strip", strips, _read_strip),
        ("full_disclosure", disclosures, _read_disclosure),
    ):
        for index, ancestry in enumerate(found):
            number = f"_{index}" if len(found) > 1 else ""
            part = "" if single else f"{kind}{number}"
            names, rows, read_notes = read(ancestry, path.name)
            yield _opened(ancestry, part, names, rows, (*notes, *read_notes), hints, path.name)


def _find(root: Element) -> tuple[list[Ancestry], list[Ancestry], int]:
    """Returns strips, full disclosures, each with what contains it, and the number of medians."""
    strips, disclosures, num_medians = [], [], 0
    stack: list[Ancestry] = [(root,)]
    while stack:
        ancestry = stack.pop()
        element = ancestry[0]
        name = _ge_xml.local_name(element)
        if name.startswith(_DERIVED):
            num_medians += any(True for _ in _ge_xml.descendants(element, "WaveformData"))
        elif name == "fulldisclosure":
            data = _ge_xml.children(element, "FullDisclosureData")
            disclosures += [ancestry] if any(_all_text(part).strip() for part in data) else []
        elif _ge_xml.children(element, "WaveformData"):
            strips.append(ancestry)
        else:
            stack += [(child, *ancestry) for child in reversed(element)]
    return strips, disclosures, num_medians


def _opened(
    ancestry: Ancestry,
    part: str,
    own: tuple[str, ...],
    rows: np.ndarray,
    notes: tuple[Note, ...],
    hints: Hints,
    where: str,
) -> Opened:
    """Returns a recording of rows of stored integers, float32 [L, T]."""
    rate = _recording.check_rate(_rate(ancestry, where) or hints.sample_rate_hz, where)
    factor, known = _factor(ancestry, hints, where)
    names, name_notes = _recording.lead_names(own if any(own) else None, hints, len(rows))
    names, rows, computed = _limb_leads.complete(names, rows)
    document = next(
        (element for element in ancestry if _ge_xml.local_name(element) == _ROOT.lower()),
        ancestry[-1],
    )
    losses = _recording.loss_notes(
        filters=_filters(document), rate_hz=rate, step_mv=factor if known else 0
    )
    unit_notes = _recording.unit_notes(known)
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=rows.shape[1],
        unit_known=known,
        read=functools.partial(_array.read, rows, factor),
        notes=(*notes, *name_notes, *computed, *losses, *unit_notes),
        patient=_read_patient(document),
    )


def _read_strip(ancestry: Ancestry, where: str) -> Leads:
    """Returns the leads of a strip, which are stored apart."""
    elements = _ge_xml.children(ancestry[0], "WaveformData")
    stated = _inherited_count(ancestry, "ChannelSampleCountTotal", where)
    names, rows, notes = [], [], []
    for element in elements:
        name = next(
            (text.strip() for key, text in element.attrib.items() if key.lower() == "lead"), ""
        )
        row = _cardiosoft_samples.parse(_all_text(element), where)
        if not len(row):
            detail = f"The lead {name} has no samples."
            notes.append(Note("missing_lead", detail, name or None))
            continue
        _check_count(len(row), stated, where)
        names.append(name)
        rows.append(row)
    if not rows:
        raise Defect("no_ecg_lead", f"A strip of {where} has no leads with samples.")
    num_leads = _inherited_count(ancestry, "NumberOfLeads", where)
    if num_leads is not None and num_leads > len(elements):
        detail = f"{where} states {counted(num_leads, 'lead')}, but has {len(elements)}."
        notes.append(Note("missing_lead", detail))
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        detail = f"A strip of {where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    return tuple(names), np.stack(rows), notes


def _read_disclosure(ancestry: Ancestry, where: str) -> Leads:
    """Returns the leads of a full disclosure, which are stored mixed."""
    names = tuple(re.split(r"\s*[,;]\s*|\s+", _inherited(ancestry, "LeadOrder").strip(" ,;")))
    names = names if any(names) else ()
    num_leads = _inherited_count(ancestry, "NumberOfChannels", where) or len(names)
    if not num_leads or num_leads > _recording.MAX_LEADS:
        raise Defect(
            "lead_count", f"{where} states {counted(num_leads, 'lead')} of a full disclosure."
        )
    if names and len(names) != num_leads:
        detail = (
            f"{where} states {counted(num_leads, 'lead')} of a full disclosure, but names "
            f"{len(names)}."
        )
        raise Defect("header_mismatch", detail)
    elements = _ge_xml.children(ancestry[0], "FullDisclosureData")
    parts = [_cardiosoft_samples.parse(_all_text(element), where) for element in elements]
    for element, part in zip(elements, parts, strict=True):
        stated = _ge_xml.count(element, "SampleCountTotal", where)
        if stated is None or stated * num_leads != len(part):
            _check_count(len(part), stated, where)
    values = np.concatenate(parts)
    rate = _rate(ancestry, where) or 1.0
    rows = _cardiosoft_samples.unmix(values, num_leads, max(1, round(rate)))
    if not rows.size:
        raise Defect("empty", f"The full disclosure of {where} holds no complete second.")
    dropped = len(values) - rows.size
    detail = f"The last {dropped} values are not of all leads and were skipped."
    notes = [Note("incomplete_block", detail)] if dropped else []
    return names or ("",) * num_leads, rows, notes


def _all_text(element: Element) -> str:
    """Returns the text of an element without that of the elements in it."""
    return (element.text or "") + "".join(child.tail or "" for child in element)


def _check_count(found: int, stated: int | None, where: str) -> None:
    if stated is not None and found != stated:
        detail = f"{where} states {stated} samples, but has {found}."
        raise Defect("truncated" if found < stated else "header_mismatch", detail)


def _owner(ancestry: Ancestry, name: str) -> Element | None:
    """Returns the innermost element that states a value for a recording in it."""
    return next((element for element in ancestry if _ge_xml.text(element, name)), None)


def _inherited(ancestry: Ancestry, name: str) -> str:
    return _ge_xml.text(_owner(ancestry, name), name)


def _inherited_count(ancestry: Ancestry, name: str, where: str) -> int | None:
    return _ge_xml.count(_owner(ancestry, name), name, where)


def _unit(ancestry: Ancestry, name: str) -> str:
    """Returns the unit of a value; an empty text if it has none."""
    element = next(iter(_ge_xml.children(_owner(ancestry, name), name)), None)
    attributes = {} if element is None else element.attrib
    return next((text for key, text in attributes.items() if key.lower() in ("units", "unit")), "")


def _rate(ancestry: Ancestry, where: str) -> float | None:
    """Returns the sampling rate in Hz; None if none is stated."""
    unit = _unit(ancestry, "SampleRate").strip().lower()
    if unit not in ("", "hz", "1/s", "samples/s", "sps"):
        raise Defect("wrong_rate", f"{where} states a sampling rate in {unit[:40]!r}.")
    rate = _ge_xml.number(_owner(ancestry, "SampleRate"), "SampleRate", where)
    return None if rate is None else _recording.check_rate(rate, where)


def _factor(ancestry: Ancestry, hints: Hints, where: str) -> tuple[float, bool]:
    """Returns the millivolts per stored integer and whether they are known."""
    step = _ge_xml.number(_owner(ancestry, "Resolution"), "Resolution", where)
    if step is None:
        return _recording.scale("", hints)
    if not step > 0:
        raise Defect("wrong_units", f"{where} states an invalid resolution: {step:g}.")
    unit = _PER_STEP.sub("", _unit(ancestry, "Resolution")) or "uV"
    factor, known = _recording.scale(unit, hints)
    return step * factor, known


def _filters(document: Element) -> str:
    """Returns the filters of the device in words; an empty text if it states none."""
    settings = next(_ge_xml.descendants(document, "FilterSetting"), None)
    texts = []
    for tag, name in (("HighPass", "high-pass"), ("LowPass", "low-pass")):
        value = _recording.parse_number(_ge_xml.text(settings, tag))
        texts += [f"{name} {value:g} Hz"] if value else []
    for tag, name in (
        ("Filter50Hz", "50 Hz notch"),
        ("Filter60Hz", "60 Hz notch"),
        ("CubicSpline", "cubic spline of the baseline"),
    ):
        texts += [name] if _ge_xml.text(settings, tag).lower() in _YES else []
    return ", ".join(texts)


def _read_patient(document: Element) -> Patient:
    info = next(_ge_xml.descendants(document, "PatientInfo"), None)
    age = next(iter(_ge_xml.children(info, "Age")), None)
    born = next(iter(_ge_xml.children(info, "BirthDateTime")), None)
    observed = next(_ge_xml.descendants(document, "ObservationDateTime"), None)
    recorded = _date(observed)
    unit = "" if age is None else age.get("units", "")
    return Patient(
        age_years=_ge_xml.age_years(_ge_xml.text(info, "Age"), unit, _date(born), recorded),
        male=_patient.male(_ge_xml.text(info, "Gender")),
        recorded_at=_time(observed, recorded),
    )


def _integers(parent: Element | None, *names: str) -> list[int] | None:
    """Returns the whole numbers that children state; None if one states none."""
    texts = [_ge_xml.text(parent, name) for name in names]
    is_whole = all(text.isascii() and text.isdecimal() and len(text) < 5 for text in texts)
    return [int(text) for text in texts] if is_whole else None


def _date(parent: Element | None) -> datetime.date | None:
    numbers = _integers(parent, "Year", "Month", "Day")
    return _patient.make_date(*numbers) if numbers and numbers[0] >= _FIRST_YEAR else None


def _time(parent: Element | None, date: datetime.date | None) -> datetime.datetime | None:
    numbers = _integers(parent, "Hour", "Minute")
    if date is None or numbers is None:
        return None
    second = (_integers(parent, "Second") or [0])[0]
    try:
        time = datetime.time(numbers[0], numbers[1], second)
    except ValueError:
        return None
    return datetime.datetime.combine(date, time)


FORMAT = Format(
    name="GE CardioSoft XML", suffixes=(".xml",), looks_like=looks_like, open=open_cardiosoft
)
