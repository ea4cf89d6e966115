"""Reads ECGs as Apple Health exports them: lines of names and values in the phone's language, then
one column of samples.

The fields are found by their values, because their names are translated, and the decimal sign
follows the language: a table reader would take `-12,345` for two columns.
"""

import csv
import dataclasses
import datetime
import functools
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _array, _patient, _recording, _text
from clef_jax.formats._recording import Format, Hints, Opened, Patient
from clef_jax.signal import unit as unit_lib

_MAX_FILE_BYTES = 64 << 20
"""Largest accepted file; a recording lasts 30 s and takes 150 kB."""
_MAX_HEADER_LINES = 40
_MIN_FIELDS = 3
_MAX_LETTERS = 60
_HERTZ = r"hz|h[eé]r[tcz]\w*|гц|герц\w*|χερτζ|هرتز|הרץ|เฮิรตซ์|헤르츠|ヘルツ|赫兹|赫茲"
_RATE = re.compile(rf"(\d+(?:[.,]\d+)?)\s*(?:{_HERTZ})\.?", re.IGNORECASE)
_NUMBER_AND_WORD = re.compile(r"(\d+(?:[.,]\d+)?)\s*\D+")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)?\s*([+-]\d\d:?\d\d|Z)?")
_LEAD = re.compile(r"(?<![A-Za-z0-9])(I{1,3}|aV[RLF]|V[1-6])(?![A-Za-z0-9])", re.IGNORECASE)
_SAMPLE = re.compile(r"[-+\u2212]?[\d.,'\u2019\u00a0\u202f]*\d(?:[eE][-+]?\d+)?")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_MONTHS = (
    *("jan ene gen", "feb fev", "mar mrt maa", "apr avr abr", "may mai mei maj mag"),
    *("jun juin giu", "jul juil lug", "aug aou ago", "sep set", "oct okt out"),
    *("nov", "dec dez des dic"),
)
"""Beginnings of the months' names in several languages, without accents."""


@dataclasses.dataclass(frozen=True)
class _Header:
    """Fields of a file; empty or None where it states none."""

    encoding: str
    first_line: int
    """Number of the first line of samples, counted from 0."""
    sample_rate_hz: float
    unit: str
    lead: str
    patient: Patient


def looks_like(path: Path) -> bool:
    """Returns whether a file has the header of such an export above a column of numbers."""
    return _header(path) is not None


def open_export(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of a file.

    Raises:
        Defect: the file is too large, or a line of the samples is no number.
    """
    header = _header(path)
    if header is None:
        raise Defect("unreadable", f"{path.name} has no header of an exported ECG.")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 64 MiB, the largest size of such a file.")
    rate = _recording.check_rate(header.sample_rate_hz, path.name)
    factor, known = _recording.scale(header.unit, hints)
    samples = _recording.as_float32(_samples(path, header) * factor)
    names, notes = _recording.lead_names((header.lead,), hints, 1)
    yield Opened(
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=len(samples),
        unit_known=known,
        read=functools.partial(_array.read, samples[None], 1.0),
        notes=(*notes, *_recording.unit_notes(known)),
        patient=header.patient,
    )


def _header(path: Path) -> _Header | None:
    """Returns the header of a file; None if the file is no such export."""
    encoding, lines = _text.head(path)
    fields: list[tuple[str, str]] = []
    above = ""
    for number, line in enumerate(lines[:_MAX_HEADER_LINES]):
        if _is_sample(line):
            is_apart = not above.strip(' ,;"\t') or (bool(fields) and _is_known(fields[-1][1]))
            return _fields(encoding, number, fields) if is_apart else None
        above = line
        if line.strip(' ,;"\t'):
            fields.append(_split(line))
    return None


def _split(line: str) -> tuple[str, str]:
    """Returns name and value of a line, whose value may have commas that are not quoted."""
    line = line.strip()
    mark = next((mark for mark in "\t;" if mark in line), ",")
    try:
        first, *rest = next(csv.reader([line], delimiter=mark, skipinitialspace=True))
    except (csv.Error, StopIteration, ValueError):
        return "", ""
    return first.strip(), mark.join(rest).strip().strip(mark).strip()


def _is_sample(line: str) -> bool:
    text = _field(line)
    return bool(_SAMPLE.fullmatch(text)) and text.count(",") + text.count(".") <= 3


def _field(line: str) -> str:
    """Returns the number of a line without quotes and the empty columns that spreadsheets add."""
    return line.strip().rstrip(",;").strip('"').strip()


def _is_known(value: str) -> bool:
    """Returns whether a value is one of those by which the fields are found."""
    is_unit = unit_lib.millivolts(value) is not None
    return (
        is_unit
        or any(p.fullmatch(value) for p in (_RATE, _TIME, _NUMBER_AND_WORD))
        or bool(_lead(value))
    )


def _fields(encoding: str, first_line: int, fields: list[tuple[str, str]]) -> _Header | None:
    """Returns a header if its fields are those of an export."""
    values = [value for _, value in fields]
    rates = [match[1] for value in values if (match := _RATE.fullmatch(value))]
    units = [i for i, value in enumerate(values) if unit_lib.millivolts(value) is not None]
    times = [i for i, value in enumerate(values) if _TIME.fullmatch(value)]
    if not rates and units and times:  # a language whose word for hertz is unknown
        rates = [m[1] for value in values if (m := _NUMBER_AND_WORD.fullmatch(value))]
        rates = [text for text in rates if 100 <= float(text.replace(",", ".")) <= 2000]
    names_columns = any(leads.is_standard(name) for name, _ in fields)
    if len(fields) < _MIN_FIELDS or not rates or not (units or times) or names_columns:
        return None
    is_thousands = re.fullmatch(r"\d,000", rates[0])
    rate = _recording.parse_number(rates[0].replace(",", "") if is_thousands else rates[0])
    if rate is None:
        return None
    beside = [values[i + step] for i in units for step in (-1, 1) if 0 <= i + step < len(values)]
    lead = next((name for value in beside if (name := _lead(value))), "")
    if not lead and any(re.match(r"(?:apple )?watch", value, re.IGNORECASE) for value in values):
        lead = "I"
    at = _time(values[times[0]]) if times else None
    born = _date(values[times[0] - 1]) if times and times[0] else None
    age = _patient.age_between(born, at.date() if at else None)
    patient = Patient(age_years=age, recorded_at=at)
    unit = values[units[0]] if units else ""
    return _Header(encoding, first_line, rate, unit, lead, patient)


def _lead(value: str) -> str:
    """Returns the only lead that a value names, such as `Ableitung I`; else an empty text."""
    found = _LEAD.findall(unicodedata.normalize("NFKC", value))
    return leads.normalize(found[0]) if len(found) == 1 else ""


def _time(text: str) -> datetime.datetime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ''}")
    except ValueError:
        return None


def _date(text: str) -> datetime.date | None:
    """Returns a date in one of many languages; None if day and month cannot be distinguished."""
    if date := _patient.date(text):
        return date
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    numbers, words = re.findall(r"\d+", plain), re.findall(r"[a-z]+", plain)
    years = [int(number) for number in numbers if len(number) == 4]
    others = [int(number) for number in numbers if len(number) <= 2]
    if len(years) != 1 or len(text) > _MAX_LETTERS:
        return None
    months = {
        number
        for word in words
        for number, beginnings in enumerate(_MONTHS, 1)
        if word.startswith(tuple(beginnings.split()))
    }
    if len(others) == 1 and len(months) == 1:
        return _patient.make_date(years[0], months.pop(), others[0])
    if len(others) != 2 or words:
        return None
    first, second = others
    if "." in plain or first > 12:  # points separate day, month and year in this order
        return _patient.make_date(years[0], second, first)
    return _patient.make_date(years[0], first, second) if second > 12 or first == second else None


def _samples(path: Path, header: _Header) -> np.ndarray:
    """Returns the samples in the file's unit, float64 [T], with NaN where a line is empty text.

    Raises:
        Defect: a line is no number.
    """
    text = path.read_text(header.encoding, "replace")
    lines = re.split(r"\r\n|\r|\n", text)[header.first_line :]
    stripped = map(_field, lines)
    texts = [re.sub("['\u2019\u00a0\u202f]", "", t).replace("\u2212", "-") for t in stripped if t]
    decimal = _decimal_sign(texts)
    other = "," if decimal == "." else "."
    if any(other in text and not _grouped(text, other, decimal) for text in texts):
        raise Defect("unreadable", f"{path.name} has samples with different decimal signs.")
    texts = [text.replace(other, "").replace(decimal, ".") for text in texts]
    texts = ["nan" if text in _text.MISSING else text for text in texts]
    if not all(text == "nan" or _NUMBER.fullmatch(text) for text in texts):
        raise Defect("unreadable", f"{path.name} has samples that are not numbers.")
    return np.array(texts, np.float64)


def _decimal_sign(texts: list[str]) -> str:
    """Returns the last sign of numbers that have two, else the more frequent one."""
    for text in texts:
        if "," in text and "." in text:
            return "," if text.rindex(",") > text.rindex(".") else "."
    return "," if sum("," in t for t in texts) > sum("." in t for t in texts) else "."


def _grouped(text: str, sign: str, decimal: str) -> bool:
    """Returns whether a sign separates the thousands of a number."""
    whole = text.partition(decimal)[0].lstrip("+-")
    first, *groups = whole.split(sign)
    is_grouped = 1 <= len(first) <= 3 and all(len(group) == 3 for group in groups)
    return is_grouped and sign not in text.partition(decimal)[2]


FORMAT = Format(
    name="Apple Health", suffixes=(".csv", ".txt"), looks_like=looks_like, open=open_export
)
