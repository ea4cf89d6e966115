"""Reads what a DICOM data set states about the patient and the time."""

import dataclasses
import datetime
from typing import Any

from clef_jax.formats import _patient
from clef_jax.formats._recording import Patient

TAGS = ("PatientAge", "PatientSex", "PatientBirthDate", "TimezoneOffsetFromUTC")
TAGS += ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")
TAGS += ("ContentDate", "ContentTime", "StudyDate", "StudyTime")
"""Elements that are read."""


def read(dataset: Any, errors: tuple[type[Exception], ...]) -> Patient:
    """Returns age, sex and time; what is malformed is unknown."""

    def text(keyword: str) -> str:
        try:
            return str(dataset.get(keyword) or "").strip("\0 ")
        except errors:
            return ""

    start = _start(text)
    age = _patient.age(text("PatientAge"))
    if age is None and start is not None:
        age = _patient.age_between(_patient.date(text("PatientBirthDate")), start.date())
    return Patient(age_years=age, male=_patient.male(text("PatientSex")), recorded_at=start)


def _start(text: Any) -> datetime.datetime | None:
    """Returns the time of the acquisition, or else of the contents or the study."""
    texts = [text("AcquisitionDateTime")]
    for kind in ("Acquisition", "Content", "Study"):
        # The retired form of these has dots and colons.
        date, time = text(f"{kind}Date").replace(".", ""), text(f"{kind}Time").replace(":", "")
        texts.append(date + time if date and time else "")
    start = next(filter(None, map(_patient.time, texts)), None)
    zone = text("TimezoneOffsetFromUTC")
    if start is not None and start.tzinfo is None and zone:
        return _patient.time(start.strftime("%Y%m%d%H%M%S.%f") + zone) or start
    return start


def at_group(patient: Patient, group: Any, errors: tuple[type[Exception], ...]) -> Patient:
    """Returns the patient with the start of a multiplex group, which may begin later."""
    try:
        offset_ms = float(group.get("MultiplexGroupTimeOffset") or 0)
        later = datetime.timedelta(milliseconds=offset_ms)
        if patient.recorded_at is None or not later:
            return patient
        return dataclasses.replace(patient, recorded_at=patient.recorded_at + later)
    except errors:
        return patient
