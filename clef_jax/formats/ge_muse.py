"""Reads GE MUSE XML files; every rhythm waveform is a recording, median beats are not.

This reader is our own, because the libraries that decode MUSE ignore where a lead begins, read one
waveform of a file, or bring 50 MB of other things.

Format: the `RestingECG` documents of GE's MUSE (restecg.dtd). Samples are signed integers in
base64, the least significant byte first. The sampling rate is SampleBase x 10^SampleExponent, and
the high-pass filter is in hundredths of a hertz. Most files store I, II and V1 to V6 only.
"""

import datetime
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _array, _ge_xml, _limb_leads, _muse_lead, _patient, _recording, _xml
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_ROOT = "RestingECG"
_DERIVED = ("median", "average", "template")
_MIN_RHYTHM_SECONDS = 2.0
"""Waveforms without a type that are shorter are averaged beats, which take 1.2 s."""
_SERIAL_TYPES = ("", "CONTINUOUS_SAMPLES", "SIMPLEX_SAMPLES")
"""Types whose leads are stored one after the other without gaps."""
_MAX_EXPONENT = 6
_DATE = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_TIME = re.compile(r"(\d{1,2}):?(\d{2})(?::?(\d{2})(?:\.\d+)?)?\s*([AP]M)?", re.IGNORECASE)


def looks_like(path: Path) -> bool:
    """Returns whether a document is, or wraps, a resting ECG of MUSE."""
    return _ge_xml.has_element(path, _ROOT)


def open_muse(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each rhythm waveform of a file.

    Raises:
        Defect: the file is malformed or truncated, declares entities, or holds no rhythm waveform;
            or a waveform is stored in a way that is not known to be read correctly.
    """
    root = _xml.parse(path, may_name_type=True)
    found = [
        (ecg, waveform)
        for ecg in _ge_xml.descendants(root, _ROOT)
        for waveform in _ge_xml.children(ecg, "Waveform")
    ]
    rhythms = [(ecg, waveform) for ecg, waveform in found if not _is_derived(waveform, path.name)]
    if not rhythms:
        kind = "only median beats" if found else "no waveform"
        raise Defect("derived_series" if found else "no_ecg_lead", f"{path.name} holds {kind}.")
    skipped = len(found) - len(rhythms)
    detail = f"{skipped} of {len(found)} waveforms hold median beats and were skipped."
    notes = (Note("derived_series", detail),) if skipped else ()
    for index, (ecg, waveform) in enumerate(rhythms):
        part = str(index) if len(rhythms) > 1 else ""
        yield _open_waveform(ecg, waveform, part, notes, hints, path.name)


def _is_derived(waveform: Element, where: str) -> bool:
    """Returns whether a waveform holds averaged beats rather than a rhythm."""
    kind = _ge_xml.text(waveform, "WaveformType").lower()
    if kind:
        return any(word in kind for word in _DERIVED)
    rate = _rate(waveform, where)
    counts = [
        _ge_xml.count(lead, "LeadSampleCountTotal", where)
        for lead in _ge_xml.children(waveform, "LeadData")
    ]
    longest = max((stated for stated in counts if stated is not None), default=None)
    return bool(rate and longest is not None and longest < _MIN_RHYTHM_SECONDS * rate)


def _open_waveform(
    ecg: Element,
    waveform: Element,
    part: str,
    notes: tuple[Note, ...],
    hints: Hints,
    where: str,
) -> Opened:
    kind = _ge_xml.text(waveform, "SampleType").upper()
    if kind not in _SERIAL_TYPES:
        detail = f"{where} stores samples as {kind[:40]}, which is not read."
        raise Defect("unsupported_layout", detail)
    rate = _recording.check_rate(_rate(waveform, where) or hints.sample_rate_hz, where)
    elements = _ge_xml.children(waveform, "LeadData")
    leads = [_muse_lead.read(element, hints, where) for element in elements]
    filled = [lead for lead in leads if len(lead.samples)]
    if not filled:
        raise Defect("no_ecg_lead", f"A waveform of {where} has no leads with samples.")
    lead_notes = [note for lead in leads for note in lead.notes]
    stated = _ge_xml.count(waveform, "NumberofLeads", where)
    if stated is not None and stated > len(elements):
        detail = f"{where} states {counted(stated, 'lead')}, but has {len(elements)}."
        lead_notes.append(Note("missing_lead", detail))
    own = tuple(lead.name for lead in filled)
    names, name_notes = _recording.lead_names(own, hints, len(own))
    rows, computed = _muse_lead.align(filled, where), ()
    known = all(lead.unit_known for lead in filled)
    if known or not any(lead.unit_known for lead in filled):
        names, rows, computed = _limb_leads.complete(names, rows)
    losses = _recording.loss_notes(
        filters=_filters(waveform),
        device_rate_hz=_device_rate(ecg),
        rate_hz=rate,
        step_mv=max(lead.step_mv for lead in filled) if known else 0,
    )
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=rows.shape[1],
        unit_known=known,
        read=functools.partial(_array.read, rows, 1.0),
        notes=(
            *notes,
            *lead_notes,
            *name_notes,
            *computed,
            *losses,
            *_recording.unit_notes(known),
        ),
        patient=_read_patient(ecg),
    )


def _rate(waveform: Element, where: str) -> float | None:
    """Returns the sampling rate in Hz that base and exponent state; None if they state none."""
    base = _ge_xml.number(waveform, "SampleBase", where)
    exponent = _ge_xml.number(waveform, "SampleExponent", where) or 0.0
    if base is None:
        return None
    if exponent != int(exponent) or abs(exponent) > _MAX_EXPONENT:
        raise Defect("wrong_rate", f"{where} states an invalid exponent of its sampling rate.")
    return _recording.check_rate(round(base * 10.0 ** int(exponent), 9), where)


def _device_rate(ecg: Element) -> float | None:
    """Returns the rate in Hz at which the device sampled or analysed the ECG, if it is stated."""
    for parent, names in (
        ("TestDemographics", ("AcquisitionSampleRate",)),
        ("OriginalRestingECGMeasurements", ("AcquisitionSampleRate", "ECGSampleBase")),
        ("RestingECGMeasurements", ("AcquisitionSampleRate", "ECGSampleBase")),
    ):
        for element in _ge_xml.children(ecg, parent):
            for name in names:
                stated = _recording.parse_number(_ge_xml.text(element, name))
                exponent = _recording.parse_number(_ge_xml.text(element, "ECGSampleExponent")) or 0
                if stated and abs(exponent) <= _MAX_EXPONENT:
                    return stated * 10.0 ** (exponent if name == "ECGSampleBase" else 0)
    return None


def _filters(waveform: Element) -> str:
    """Returns the filters of the device in words; an empty text if it states none."""
    high_pass = _recording.parse_number(_ge_xml.text(waveform, "HighPassFilter"))
    low_pass = _recording.parse_number(_ge_xml.text(waveform, "LowPassFilter"))
    texts = []
    if high_pass:
        # In hundredths of a hertz; a fraction can only be hertz.
        texts.append(f"high-pass {high_pass / 100 if high_pass >= 1 else high_pass:g} Hz")
    if low_pass:
        texts.append(f"low-pass {low_pass:g} Hz")
    for element in _ge_xml.children(waveform, "ACFilter"):
        notch = _recording.parse_number(element.text or "")
        texts += [f"{notch:g} Hz notch"] if notch else []
    return ", ".join(texts)


def _read_patient(ecg: Element) -> Patient:
    demographics = next(iter(_ge_xml.children(ecg, "PatientDemographics")), None)
    test = next(iter(_ge_xml.children(ecg, "TestDemographics")), None)
    recorded = _date(_ge_xml.text(test, "AcquisitionDate"))
    time = _time(_ge_xml.text(test, "AcquisitionTime"))
    return Patient(
        age_years=_ge_xml.age_years(
            _ge_xml.text(demographics, "PatientAge"),
            _ge_xml.text(demographics, "AgeUnits"),
            _date(_ge_xml.text(demographics, "DateofBirth")),
            recorded,
        ),
        male=_patient.male(_ge_xml.text(demographics, "Gender")),
        recorded_at=datetime.datetime.combine(recorded, time) if recorded and time else None,
    )


def _date(text: str) -> datetime.date | None:
    """Returns a date that MUSE writes as month-day-year; a month above 12 is a day."""
    match = _DATE.fullmatch(text)
    if match is None:
        return _patient.date(text) or _named_month(text)
    first, second, year = (int(group) for group in match.groups())
    month, day = (second, first) if first > 12 else (first, second)
    return _patient.make_date(year, month, day)


def _named_month(text: str) -> datetime.date | None:
    """Returns a date such as `15-MAR-2024`."""
    try:
        return datetime.datetime.strptime(text, "%d-%b-%Y").date()
    except ValueError:
        return None


def _time(text: str) -> datetime.time | None:
    """Returns a time of day such as `14:30:00`, `143000` or `2:30 PM`."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[4]:
        hour = hour % 12 + (12 if match[4].upper() == "PM" else 0)
    try:
        return datetime.time(hour, minute, second)
    except ValueError:
        return None


FORMAT = Format(name="GE MUSE XML", suffixes=(".xml",), looks_like=looks_like, open=open_muse)
