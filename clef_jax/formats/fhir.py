"""Reads ECGs in HL7 FHIR (STU3, R4, R5); every Observation with samples is a recording.

The file is an Observation, a Bundle or a resource that contains Observations, in JSON or XML, or
lines of them in JSON (`.ndjson`). The reader is our own, because packages for FHIR validate
resources but do not decode their samples.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import (
    _array,
    _failures,
    _fhir_samples,
    _fhir_xml,
    _json,
    _patient,
    _recording,
)
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_MAX_DEPTH = 4
"""Most Bundles and resources that are contained in each other."""


class _Document(NamedTuple):
    """A document of a file, of which either value or defect is None."""

    name: str
    value: Any
    defect: Defect | None


def looks_like(path: Path) -> bool:
    """Returns whether a file has resources of FHIR with samples."""
    if path.suffix.lower() == ".xml":
        return _fhir_xml.looks_like(path)
    return _json.mentions(path, b'"resourceType"', b"SampledData")


def open_fhir(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each Observation that holds an ECG.

    Raises:
        Defect: the file is malformed or holds no ECG, or some of its Observations cannot be read.
    """
    failures = _failures.Failures(path.name)
    is_lines = path.suffix.lower() == ".ndjson"
    documents = _lines(path) if is_lines else _whole(path)
    patients, count = _survey(documents)
    num_read = number = 0
    for place, document, defect in _lines(path) if is_lines else documents:
        if defect is not None:
            failures.add(place, defect)
            continue
        for observation, contained in _observations(document):
            own = {f"#{_json.text(item, 'id')}": item for item in contained}
            part = str(number) if count > 1 else ""
            with failures.catch(f"observation {number}"):
                opened = _open(observation, part, patients | own, hints, path.name)
                num_read += 1
                yield opened
            number += 1
    failures.report(num_read)
    if not num_read:
        raise Defect("no_ecg_lead", f"{path.name} holds no Observation with samples of an ECG.")


def _whole(path: Path) -> list[_Document]:
    """Returns the document of a file, or those of its lines if each line is one.

    Raises:
        Defect: the file is malformed.
    """
    if path.suffix.lower() == ".xml":
        return [_Document(path.name, _fhir_xml.parse(path), None)]
    try:
        return [_Document(path.name, _json.parse_file(path), None)]
    except Defect as defect:
        if defect.problem != "unreadable" or not _has_lines(path):
            raise
    return list(_lines(path))


def _lines(path: Path) -> Iterator[_Document]:
    """Yields the documents of the lines of a file."""
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(_json.MAX_BYTES), b""), 1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                value = _json.parse(line, f"Line {number} of {path.name}")
            except Defect as defect:
                yield _Document(place, None, defect)
            else:
                yield _Document(place, value, None)


def _has_lines(path: Path) -> bool:
    """Returns whether the first two lines of a file are complete objects."""
    with path.open("rb") as stream:
        lines = [stream.readline(_json.MAX_BYTES).strip() for _ in range(2)]
    return all(line.startswith(b"{") and line.endswith(b"}") for line in lines)


def _survey(documents: Iterable[_Document]) -> tuple[dict[str, dict[str, Any]], int]:
    """Returns the patients of a file by the references to them, and its number of ECGs."""
    patients, num_ecgs = {}, 0
    for document in documents:
        for resource, url, _ in _resources(document.value, 0):
            if resource.get("resourceType") == "Patient":
                known = {key: resource.get(key) for key in ("birthDate", "gender")}
                patients[f"Patient/{_json.text(resource, 'id')}"] = known
                patients[url] = known
        num_ecgs += sum(1 for _ in _observations(document.value))
    patients.pop("", None)
    return patients, num_ecgs


def _resources(
    document: Any, depth: int, url: str = ""
) -> Iterator[tuple[dict[str, Any], str, list[dict[str, Any]]]]:
    """Yields all resources of a document, their addresses, and the resources beside them."""
    if isinstance(document, list):
        for item in document:
            yield from _resources(item, depth + 1)
    if not isinstance(document, dict) or depth > _MAX_DEPTH:
        return
    contained = _json.entries(document, "contained")
    yield document, url, contained
    for entry in _json.entries(document, "entry"):
        yield from _resources(entry.get("resource"), depth + 1, _json.text(entry, "fullUrl"))
    for item in contained:
        if item.get("resourceType") == "Observation":
            yield item, "", contained


def _observations(document: Any) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yields the Observations with samples of an ECG, and the resources that they contain."""
    for resource, _, contained in _resources(document, 0):
        if resource.get("resourceType") == "Observation":
            sampled = _sampled(resource)
            if sampled and any(_lead(code, resource) is not None for code, _ in sampled):
                yield resource, contained


def _sampled(observation: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Returns code and samples of an Observation and of its components."""
    parts = [observation, *_json.entries(observation, "component")]
    pairs = [(part.get("code"), part.get("valueSampledData")) for part in parts]
    return [(code, value) for code, value in pairs if isinstance(value, dict)]


def _lead(code: Any, observation: dict[str, Any]) -> str | None:
    """Returns the lead of samples, empty if it has no name; None if they are of another signal."""
    name = _fhir_samples.lead_name(code)
    if name is not None:
        return name
    if _fhir_samples.is_other(code):
        return None
    whole = _fhir_samples.lead_name(observation.get("code"))
    return "" if whole is not None else None


def _open(
    observation: dict[str, Any],
    part: str,
    patients: dict[str, dict[str, Any]],
    hints: Hints,
    where: str,
) -> Opened:
    """Returns the recording of an Observation.

    Raises:
        Defect: its samples cannot be read, or its leads differ in rate or length.
    """
    if _json.text(observation, "status") == "entered-in-error":
        raise Defect("entered_in_error", f"An Observation of {where} was entered in error.")
    names, rows, known, rates, notes = [], [], [], set(), []
    for code, sampled in _sampled(observation):
        name = _lead(code, observation)
        if name is None:
            detail = "A component of the Observation is not an ECG lead and was excluded."
            notes.append(Note("other_signal", detail))
            continue
        samples = _fhir_samples.read(sampled, hints.sample_rate_hz, where)
        factor, is_known = _recording.scale(samples.unit, hints)
        several = len(samples.values) > 1
        names += _fhir_samples.dimension_names(code, len(samples.values)) if several else [name]
        rows += [_recording.as_float32(row * factor) for row in samples.values]
        known.append(is_known)
        rates.add(samples.sample_rate_hz)
        notes += _sample_notes(samples)
    if len(rates) > 1:
        raise Defect("wrong_rate", f"The leads of an Observation of {where} differ in their rate.")
    names, rows, joined = _joined(names, rows)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        detail = f"An Observation of {where} has leads of {lengths[0]} and {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    lead_names, name_notes = _recording.lead_names(tuple(names), hints, len(names))
    return Opened(
        part=part,
        lead_names=lead_names,
        sample_rate_hz=rates.pop(),
        num_samples=lengths[0],
        unit_known=all(known),
        read=functools.partial(_array.read, np.stack(rows), 1.0),
        notes=(*dict.fromkeys(notes), *joined, *name_notes, *_recording.unit_notes(all(known))),
        patient=_read_patient(observation, patients),
    )


def _sample_notes(samples: _fhir_samples.Samples) -> list[Note]:
    notes = []
    if samples.exceeds_limits:
        detail = "Samples are outside the limits of detection that the file states for them."
        notes.append(Note("outside_limits", detail))
    if samples.num_coded:
        detail = "Samples with codes of the file's own were read as missing."
        notes.append(Note("coded_samples", detail))
    return notes


def _joined(
    names: list[str], rows: list[np.ndarray]
) -> tuple[list[str], list[np.ndarray], list[Note]]:
    """Joins the pieces of leads that follow one another, as those of an Apple Watch do.

    Returns names and rows of the leads, and a note if pieces were joined.
    """
    unique = list(dict.fromkeys(names))
    counts = {names.count(name) for name in unique}
    if "" in unique or counts == {1} or len(counts) > 1:
        return names, rows, []
    pieces = [[r for n, r in zip(names, rows, strict=True) if n == name] for name in unique]
    detail = f"Each lead was joined from {counts.pop()} components of the Observation."
    return unique, [np.concatenate(group) for group in pieces], [Note("joined_segments", detail)]


def _read_patient(observation: dict[str, Any], patients: dict[str, dict[str, Any]]) -> Patient:
    """Returns age, sex and time of an Observation, as far as the file states them."""
    at = _patient.iso_time(
        _json.text(observation, "effectiveDateTime")
        or _json.text(observation, "effectivePeriod", "start")
        or _json.text(observation, "effectiveInstant")
    )
    reference = _json.text(observation, "subject", "reference").partition("/_history")[0]
    short = "/".join(reference.rsplit("/", 2)[-2:])
    patient = patients.get(reference) or patients.get(short) or {}
    born = _patient.date(_json.text(patient, "birthDate"))
    age = _patient.age_between(born, at.date() if at else None)
    male = {"male": True, "female": False}.get(_json.text(patient, "gender").lower())
    return Patient(age_years=age, male=male, recorded_at=at)


FORMAT = Format(
    name="HL7 FHIR", suffixes=(".json", ".ndjson", ".xml"), looks_like=looks_like, open=open_fhir
)
