"""Reads HL7 annotated ECG (aECG) files; every sequence set of a measured series is a recording.

Format: HL7 v3, Annotated ECG R1 (2004), in which drug trials submit ECGs. Averaged beats (derived
series) are not recordings.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _array, _patient, _recording, _xml
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient
from clef_jax.signal import unit as unit_lib

_LEAD = "MDC_ECG_LEAD_"


def looks_like(path: Path) -> bool:
    """Returns whether the root of an XML file is that of an annotated ECG."""
    return _xml.root_name(path) == "AnnotatedECG"


def open_aecg(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each sequence set of a file.

    Raises:
        Defect: the file is malformed or truncated, declares types, or holds no ECG.
    """
    root = _xml.parse(path)
    series = root.findall("{*}component/{*}series")
    sets = [(one, found) for one in series for found in one.findall("{*}component/{*}sequenceSet")]
    if not sets:
        raise Defect("no_ecg_lead", f"{path.name} holds no measured series.")
    derived = len(root.findall(".//{*}derivedSeries"))
    detail = f"{derived} derived series (averaged beats) were skipped."
    notes = (Note("derived_series", detail),) if derived else ()
    for number, (measured, sequences) in enumerate(sets):
        part = str(number) if len(sets) > 1 else ""
        opened = _open_set(sequences, part, notes, hints, path.name)
        yield dataclasses.replace(opened, patient=_find_patient(root, measured, sequences))


def _find_patient(root: Element, series: Element, sequences: Element) -> Patient:
    """Returns age, sex and start of a sequence set; the nearest statement of the time counts."""
    person = root.find(".//{*}subjectDemographicPerson")
    birth, sex = "", ""
    if person is not None:
        birth = _attribute(person, "{*}birthTime", "value")
        sex = _attribute(person, "{*}administrativeGenderCode", "code")
    heads = (
        _attribute(sequence, "{*}value/{*}head", "value")
        for sequence in sequences.findall("{*}component/{*}sequence")
        if _attribute(sequence, "{*}code", "code") == "TIME_ABSOLUTE"
    )
    bounds = ("low", "center", "high")
    times = [*heads, *(_attribute(series, f"{{*}}effectiveTime/{{*}}{b}", "value") for b in bounds)]
    times += [_attribute(root, f"{{*}}effectiveTime/{{*}}{bound}", "value") for bound in bounds]
    times.append(_attribute(root, "{*}effectiveTime", "value"))
    start = next(filter(None, map(_patient.time, times)), None)
    born = _patient.date(birth[:8])
    return Patient(
        age_years=_patient.age_between(born, start.date() if start else None),
        male=_patient.male(sex),
        recorded_at=start,
    )


def _open_set(
    sequences: Element, part: str, notes: tuple[Note, ...], hints: Hints, where: str
) -> Opened:
    rate, names, rows, known = None, [], [], []
    for sequence in sequences.findall("{*}component/{*}sequence"):
        code = _attribute(sequence, "{*}code", "code")
        value = sequence.find("{*}value")
        if value is None:
            continue
        if code.startswith("TIME_"):
            rate = _rate(value, where)
        elif code.startswith(_LEAD):
            row, is_known = _samples(value, hints, where)
            # Codes spell aVR as AVR, and `lead_names` restores the usual spelling.
            names.append(code.removeprefix(_LEAD).replace("_", " "))
            rows.append(row)
            known.append(is_known)
    rate = _recording.check_rate(rate or hints.sample_rate_hz, where)
    if not rows:
        raise Defect("no_ecg_lead", f"A series of {where} has no ECG leads.")
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        detail = f"A series of {where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    lead_names, name_notes = _recording.lead_names(tuple(names), hints, len(names))
    return Opened(
        part=part,
        lead_names=lead_names,
        sample_rate_hz=rate,
        num_samples=lengths[0],
        unit_known=all(known),
        read=functools.partial(_array.read, np.stack(rows), 1.0),
        notes=(*notes, *name_notes, *_recording.unit_notes(all(known))),
    )


def _attribute(parent: Element, path: str, name: str) -> str:
    element = parent.find(path)
    return "" if element is None else element.get(name, "")


def _rate(value: Element, where: str) -> float:
    """Returns the sampling rate in Hz from the increment between samples."""
    increment, unit = (_attribute(value, "{*}increment", name) for name in ("value", "unit"))
    factor = unit_lib.seconds(unit or "s")
    step = _number(increment, where) * (factor or 0)
    if not step > 0:
        detail = f"{where} states an invalid sampling interval: {increment!r} {unit!r}."
        raise Defect("wrong_rate", detail)
    # Rounding removes the error of the division: 0.002 s are 500 Hz.
    return round(1 / step, 6)


def _samples(value: Element, hints: Hints, where: str) -> tuple[np.ndarray, bool]:
    """Returns samples, float32 [T], as origin + scale x digits, and whether they are millivolts."""
    text = value.findtext("{*}digits") or ""
    try:
        digits = np.array(text.replace(",", ".").split(), np.float64)
    except ValueError:
        raise Defect("unreadable", f"{where} has digits that are not numbers.") from None
    step = _number(_attribute(value, "{*}scale", "value") or "1", where)
    origin = _number(_attribute(value, "{*}origin", "value") or "0", where)
    unit = _attribute(value, "{*}scale", "unit")
    factor, known = _recording.scale(unit, hints)
    origin_unit = _attribute(value, "{*}origin", "unit") or unit
    shift = origin * (_recording.scale(origin_unit, hints)[0] if origin else 0)
    return _recording.as_float32(shift + digits * (step * factor)), known


def _number(text: str, where: str) -> float:
    number = _recording.parse_number(text)
    if number is None:
        raise Defect("unreadable", f"{where} has {text!r} where a number should be.")
    return number


FORMAT = Format(name="HL7 aECG", suffixes=(".xml",), looks_like=looks_like, open=open_aecg)
