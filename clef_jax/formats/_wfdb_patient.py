"""Reads what the header of a WFDB record states about the patient and the time."""

import datetime
import re
from pathlib import Path

from clef_jax.formats import _patient
from clef_jax.formats._recording import Patient
from clef_jax.wfdb import header as wfdb_header

_MAX_HEADER_BYTES = 1 << 20
_RECORD_LINE = re.compile(r"\S+\s+\d+\s+\S+\s+\d+\s+(?P<rest>.*)")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d+))?", re.ASCII)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_FIELD = re.compile(r"<?\b(age|sex|gender)\b>?\s*[:=]\s*(\d[\d.]*(?:\s*[a-z]+)?|[^\s<,;]+)", re.I)
_PAIR = re.compile(r"#\s*(\d{1,3}|\?)\s+([MF?])(?:\s+\d.*)?")
"""Age and sex before numbers, as in the MIT-BIH Arrhythmia Database: `# 69 M 1085 1629 x1`."""


def read(header: Path) -> Patient:
    """Returns age and sex from the comments of a header, and the time from its first line.

    Raises:
        Defect: the header cannot be read.
    """
    lines, comments = wfdb_header.read_lines(header, _MAX_HEADER_BYTES)
    stated: dict[str, str] = {}
    for comment in comments:
        for name, value in _FIELD.findall(comment):
            stated.setdefault(name.lower().replace("gender", "sex"), value)
    pair = next(filter(None, map(_PAIR.fullmatch, comments)), None)
    if not stated and pair is not None:
        stated = {"age": pair[1], "sex": pair[2]}
    return Patient(
        age_years=_patient.age(stated.get("age", "")),
        male=_patient.male(stated.get("sex", "")),
        recorded_at=_start(lines[0]) if lines else None,
    )


def _start(line: str) -> datetime.datetime | None:
    """Returns the start from a record line; None unless it states both a date and a time."""
    match = _RECORD_LINE.fullmatch(line)
    words = match["rest"].split()[:2] if match else []
    clock = next(filter(None, map(_CLOCK.fullmatch, words)), None)
    date = next(filter(None, map(_date, words)), None)
    if clock is None or date is None:
        return None
    try:
        time = datetime.time(
            int(clock[1]), int(clock[2]), int(clock[3]), int((clock[4] or "0")[:6].ljust(6, "0"))
        )
    except ValueError:
        return None
    return datetime.datetime.combine(date, time)


def _date(word: str) -> datetime.date | None:
    """Returns a date in the form of the format, `DD/MM/YYYY`, or of other writers."""
    if match := _SLASHED.fullmatch(word):
        return _patient.make_date(int(match[3]), int(match[2]), int(match[1]))
    return _patient.date(word) if "-" in word else None
