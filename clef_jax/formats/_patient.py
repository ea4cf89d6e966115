"""Parses what files state about patients and times: ages, sexes, dates.

Nothing here is ever logged; what cannot be understood is None.
"""

import datetime
import re

_MAX_AGE_YEARS = 125
_AGE = re.compile(
    r"(\d{1,4}(?:[.,]\d+)?)\s*(?:(?P<y>y|yrs?|years?|yo|a|jahre?|ans?|años?|anos?)"
    r"|(?P<m>m|mos?|months?|monate?|mois|meses)|(?P<w>w|wks?|weeks?|wochen?)|(?P<d>d|days?|tage?))?\.?",
    re.IGNORECASE,
)
"""An age with a unit as in DICOM (`063Y`, `018M`), in words (`63 years`) or without."""
_YEARS_PER = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_MALE = {"m", "male", "man", "männlich", "maennlich", "masculin", "masculino", "homme", "hombre"}
_FEMALE = {"f", "female", "woman", "w", "weiblich", "feminin", "féminin", "femenino", "femme"}
_DATE = re.compile(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = re.compile(
    r"(?P<date>\d{8})(?P<time>\d{2}(?:\d{2}(?:\d{2}(?:\.\d+)?)?)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_DAYS_PER_YEAR = 365.25


def age(value: object) -> float | None:
    """Returns an age in years from a number of years or a text such as `063Y` or `63 years`."""
    match = _AGE.fullmatch(str(value).strip())
    if match is None:
        return None
    years = float(match[1].replace(",", ".")) * _YEARS_PER[match.lastgroup or "y"]
    return years if years <= _MAX_AGE_YEARS else None


def male(value: object) -> bool | None:
    """Returns whether a text states a male patient; None if it states neither sex.

    Numbers are not understood, because 0 and 1 have opposite meanings in different sources.
    """
    text = str(value).strip().lower()
    return True if text in _MALE else False if text in _FEMALE else None


def date(text: str) -> datetime.date | None:
    """Returns a date from a text such as `19630215`, `1963-02-15` or `15-FEB-1963`."""
    text = text.strip()
    if match := _DATE.fullmatch(text):
        return make_date(int(match[1]), int(match[2]), int(match[3]))
    match = _DAY_FIRST.fullmatch(text)
    if match is None or match[2].lower() not in _MONTHS:
        return None
    return make_date(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))


def make_date(year: int, month: int, day: int) -> datetime.date | None:
    """Returns a date; None if no such day exists."""
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def time(text: str) -> datetime.datetime | None:
    """Returns a time from the form that HL7 and DICOM share, such as `20260301100000.5+0100`.

    A date alone is no time of a recording, so that it gives None.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or match["time"] is None:
        return None
    clock, _, fraction = match["time"].partition(".")
    zone = (match["zone"] or "").replace("Z", "+00:00")
    zone = f"{zone[:3]}:{zone[-2:]}" if zone else ""
    try:
        parsed = datetime.datetime.strptime(match["date"] + clock.ljust(6, "0"), "%Y%m%d%H%M%S")
        # Parsed from a text, because a zone must be less than a day.
        offset = datetime.datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo
    except ValueError:
        return None
    return parsed.replace(microsecond=int(fraction[:6].ljust(6, "0") or 0), tzinfo=offset)


def iso_time(text: str) -> datetime.datetime | None:
    """Returns a date or a time in ISO 8601; None for a text that is none, or names no day."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def age_between(birth: datetime.date | None, at: datetime.date | None) -> float | None:
    """Returns the age in years at a date; None if a date is unknown or the age implausible."""
    if birth is None or at is None:
        return None
    years = (at - birth).days / _DAYS_PER_YEAR
    return years if 0 <= years <= _MAX_AGE_YEARS else None
