"""Reads from SCP-ECG's section 1 the patient, the time, and the device's filters."""

import datetime
import struct

from clef_jax.formats import _patient
from clef_jax.formats._recording import Patient

_AGE, _BIRTH, _SEX, _DATE, _TIME, _HIGH_PASS, _LOW_PASS, _FILTERS = 4, 5, 8, 25, 26, 27, 28, 29
_ZONE, _END = 34, 255
"""Tags of fields, and the one that ends them."""
_SIZES = {4: 3, 5: 4, 6: 3, 7: 3, 8: 1, 9: 1, 11: 2, 12: 2, 24: 1, 25: 4, 26: 3, 27: 2, 28: 2}
_SIZES |= {29: 1, 33: 2}
"""Bytes of fields whose size the standard fixes."""
_YEARS_PER_UNIT = {1: 1.0, 2: 1 / 12, 3: 7 / 365.25, 4: 1 / 365.25, 5: 1 / (24 * 365.25)}
"""Years in the units of ages: years, months, weeks, days and hours."""
_MAX_AGE_YEARS = 125
_MAX_ZONE_MINUTES = 14 * 60
_FILTER_NAMES = ((1, "60 Hz notch"), (2, "50 Hz notch"), (4, "artefact filter"))
"""Bits of filters that are no high or low pass."""


def parse(body: bytes) -> tuple[Patient, str]:
    """Returns what section 1 states about the patient, and the device's filters in words.

    What is missing or cannot be understood is None, or empty.
    """
    fields = _fields(body, fix=False)
    if fields is None:  # some writers state wrong lengths of fields
        fields = _fields(body, fix=True) or {}
    date = _date(fields.get(_DATE, b""))
    age = _age(fields.get(_AGE, b""))
    if age is None:
        age = _patient.age_between(_date(fields.get(_BIRTH, b"")), date)
    sex = fields.get(_SEX, b"")[:1]
    male = {b"\1": True, b"\2": False}.get(sex)
    patient = Patient(age_years=age, male=male, recorded_at=_recorded_at(date, fields))
    return patient, _filters(fields)


def _fields(body: bytes, fix: bool) -> dict[int, bytes] | None:
    """Returns the first field of each tag; None if a length exceeds the section.

    Args:
        body: content of the section.
        fix: ignore stated lengths where the standard fixes them.
    """
    fields: dict[int, bytes] = {}
    at = 0
    while at + 3 <= len(body):
        tag, size = struct.unpack_from("<BH", body, at)
        if tag == _END:
            break
        size = _SIZES.get(tag, size) if fix else size
        at += 3
        if at + size > len(body):
            return None
        if size:
            fields.setdefault(tag, body[at : at + size])
        at += size
    return fields


def _date(field: bytes) -> datetime.date | None:
    return _patient.make_date(*struct.unpack("<HBB", field)) if len(field) == 4 else None


def _age(field: bytes) -> float | None:
    """Returns an age in years; None for 0, which stands for an unknown age."""
    if len(field) != 3:
        return None
    number, unit = struct.unpack("<HB", field)
    years = number * _YEARS_PER_UNIT.get(unit, 0)
    return years if 0 < years <= _MAX_AGE_YEARS else None


def _recorded_at(date: datetime.date | None, fields: dict[int, bytes]) -> datetime.datetime | None:
    """Returns the time of the recording; None if the date or the time of day is unknown."""
    time, zone = fields.get(_TIME, b""), fields.get(_ZONE, b"")
    if date is None or len(time) != 3:
        return None
    try:
        at = datetime.datetime.combine(date, datetime.time(time[0], time[1], time[2]))
    except ValueError:
        return None
    if len(zone) >= 2:
        (minutes,) = struct.unpack_from("<h", zone)
        if abs(minutes) <= _MAX_ZONE_MINUTES:
            offset = datetime.timedelta(minutes=minutes)
            return at.replace(tzinfo=datetime.timezone(offset))
    return at


def _filters(fields: dict[int, bytes]) -> str:
    """Returns the filters in words, such as `0.05 Hz to 150 Hz, 50 Hz notch`."""
    high_pass, low_pass = (
        int.from_bytes(fields.get(tag, b"")[:2], "little") for tag in (_HIGH_PASS, _LOW_PASS)
    )
    bits = fields.get(_FILTERS, b"\0")[0]
    words = []
    if high_pass and low_pass:
        words.append(f"{high_pass / 100:g} to {low_pass} Hz")
    elif high_pass:
        words.append(f"above {high_pass / 100:g} Hz")
    elif low_pass:
        words.append(f"below {low_pass} Hz")
    words += [name for bit, name in _FILTER_NAMES if bits & bit]
    return ", ".join(words)
