"""Reads what the header of an EDF or BDF file states about the patient and the time.

Format: EDF+, "additional specifications" 3 to 8 (edfplus.info). Free texts of plain EDF files are
not understood.
"""

import datetime
import re

from clef_jax.formats import _patient
from clef_jax.formats._recording import Patient

_PATIENT = re.compile(r"\S+ (?P<sex>[MFX]) (?P<birth>X|\d\d-[A-Za-z]{3}-\d{4})(?: .*)?")
_RECORDING = re.compile(r"Startdate (?P<date>X|\d\d-[A-Za-z]{3}-\d{4})(?: .*)?")
_NUMBERS = re.compile(r"(\d\d)[.:/-](\d\d)[.:/-](\d\d|yy)", re.ASCII | re.IGNORECASE)
_FIRST_YEAR = 85
"""Two-digit years from this one on are in the 20th century, and the others in the 21st."""


def parse(patient: str, recording: str, date: str, time: str) -> Patient:
    """Returns age, sex and start from the four fields of a header; times are local."""
    known, start = _PATIENT.fullmatch(patient), _start(recording, date, time)
    birth = _patient.date(known["birth"]) if known else None
    return Patient(
        age_years=_patient.age_between(birth, start.date() if start else None),
        male=_patient.male(known["sex"]) if known else None,
        recorded_at=start,
    )


def _start(recording: str, date: str, time: str) -> datetime.datetime | None:
    """Returns the start; the year of the recording field counts before that of two digits."""
    stated, short = _RECORDING.fullmatch(recording), _NUMBERS.fullmatch(date)
    day = _patient.date(stated["date"]) if stated else None
    if day is None and stated is None and short and short[3].isdigit():
        year = int(short[3])
        century = 1900 if year >= _FIRST_YEAR else 2000
        day = _patient.make_date(century + year, int(short[2]), int(short[1]))
    clock = _NUMBERS.fullmatch(time)
    if day is None or clock is None or not clock[3].isdigit():
        return None
    try:
        at = datetime.time(int(clock[1]), int(clock[2]), int(clock[3]))
    except ValueError:
        return None
    return datetime.datetime.combine(day, at)
