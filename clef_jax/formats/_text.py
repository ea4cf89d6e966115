"""Infers the layout of a table of numbers in a text file from its beginning.

Delimiters are tab, `;`, `,` or spaces. The decimal sign is a point, or a comma if that is not the
delimiter. A single column of numbers with decimal commas is read as two columns.
"""

import codecs
import contextlib
import csv
import dataclasses
import datetime
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.formats import _recording
from clef_jax.signal import unit as unit_lib

MISSING = ("", "-", "--", "?", "NaN", "nan", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None")
_HEAD_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20
"""Largest accepted length of a line."""
_MAX_HEADING_LINES = 60
_MIN_NUMERIC_FRACTION = 0.8
"""Smallest fraction of lines of numbers after the first such line: a table may have some malformed
lines."""
_SPLITTERS = (("\t", "\t"), (";", ";"), (",", ","), (r"\s+", None))
_NUMBER = r"[-+]?(?:\d+(?:{0}\d*)?|{0}\d+)(?:[eE][-+]?\d+)?|[-+]?inf"
_POINT, _COMMA = (re.compile(_NUMBER.format(sign)) for sign in (r"\.", ","))
_CLOCK = re.compile(
    r"\[?(?:(?:(?P<date>\d{4}-\d\d-\d\d)|\d{4}/\d\d?/\d\d?|\d\d?[./-]\w{1,3}[./-]\d{4})[T ])?"
    r"(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:[.,]\d+)?)"
    r"(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?:Z|UTC|(?P<zone>[+-]\d\d(?::?\d\d)?)))?"
    r"(?: [\d/-]+)?\]?",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"(?:\bsampl\w*[ _-]?(?:rate|freq\w*)|\bfs)(?:[ _]?[(\[]?hz[)\]]?)?\W+"
    r"(\d+(?:[.,]\d+)?)(?!e?[-+\d])\s*(k?)",
    re.IGNORECASE,
)
_IN_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
_THOUSANDS = re.compile(r"\d{1,2},\d{3}")
"""A rate such as `1,000`, whose comma separates thousands; ECGs have no rates below 50 Hz with
three decimals."""
_UNIT = re.compile(r"^\W*units?\s*[,:;=\t]\W*(\S+)", re.IGNORECASE)
_UNIT_IN_BRACKETS = re.compile(r"\s+(\([^\s()]*\)|\[[^\s\[\]]*\])(?=\s|$)")
_LEAD = re.compile(r"^\W*lead\s*[,:;=\t]\W*(\w.*)", re.IGNORECASE)

_DAY_0 = datetime.date(2000, 1, 1)
"""Day from which times with a date count."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of a table of numbers, and the metadata in the lines above it."""

    encoding: str
    separator: str
    """Separator of columns, as pandas takes it."""
    decimal: str
    """Decimal sign."""
    first_line: int
    """Number of the first line of numbers, counted from 0."""
    num_columns: int
    names: tuple[str, ...]
    """Names of the columns; empty texts for columns without a name."""
    units: tuple[str, ...]
    """Units of the columns, from their names or a line of units; empty texts where not stated."""
    clock_columns: tuple[int, ...]
    """Columns of clock times such as `0:00.004`."""
    sample_rate_hz: float | None
    """Sampling rate that a line above the table states; None if none does."""
    unit: str
    """Unit of all columns without their own, from a line above the table; empty if not stated."""
    lead: str
    """Name of the lead, from a line above the table; empty if not stated."""


def layout(path: Path) -> Layout | None:
    """Returns the layout of a table of numbers; None if the file is not such a table.

    Raises:
        OSError: the file cannot be read.
    """
    encoding, lines = head(path)
    heading: list[str] = []
    for number, line in enumerate(lines[: _MAX_HEADING_LINES + 1]):
        is_data = False
        for (separator, mark), decimal in ((s, d) for s in _SPLITTERS for d in ".,"):
            absent = mark is not None and mark not in line
            if absent or (mark == decimal and '"' not in line):
                continue
            fields = split(line, mark)
            if not _is_data(fields, decimal) or _is_numbering(fields):
                continue
            rest = [split(later, mark) for later in lines[number:] if not is_comment(later)]
            if sum(_is_data(row, decimal) for row in rest) < _MIN_NUMERIC_FRACTION * len(rest):
                is_data = True  # the other decimal sign may fit
                continue
            decimal = "," if any(_has_comma(row) for row in rest) else "."
            if mark == decimal and _are_thousands(rest):
                return None
            described = _described(heading, rest, mark, decimal)
            return Layout(encoding=encoding, separator=separator, first_line=number, **described)
        if is_data:
            return None
        heading.append(line)
    return None


def head(path: Path) -> tuple[str, list[str]]:
    """Returns the encoding and the first complete lines of a file; no lines if it is no text."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        if len(head) == _HEAD_BYTES and head.count(b"\n") < 2:
            head += stream.read(MAX_LINE_BYTES)
        is_complete = not stream.read(1)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in head:
        return "", []
    else:
        encoding = "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        if encoding == "utf-16":
            return "", []
        encoding = "latin-1"
        text = head.decode(encoding)
    # `str.splitlines` splits at further characters, which pandas takes for parts of a line.
    lines = re.split(r"\r\n|\r|\n", text)
    return encoding, lines if is_complete else lines[:-1]


def is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(("#", "%"))


def split(line: str, mark: str | None) -> list[str]:
    """Returns the fields of a line without quotes; no mark stands for spaces."""
    line = line.strip(" \r\n")
    fields = line.split(mark)
    if mark is not None and '"' in line:
        with contextlib.suppress(csv.Error):  # a field exceeds the module's limit
            fields = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [""])
    return [field.strip().strip("'\"").strip() for field in fields]


def numbers(fields: list[str], decimal: str) -> np.ndarray | None:
    """Returns the numbers of a line, float64, with NaN where missing; None if a field is none."""
    texts = ["nan" if field in MISSING else field for field in fields]
    try:
        return np.array([text.replace(decimal, ".") for text in texts], np.float64)
    except ValueError:
        return None


def _is_data(fields: list[str], decimal: str) -> bool:
    number = _COMMA if decimal == "," else _POINT
    real = [field for field in fields if field not in MISSING]
    others = [f for f in real if not (number.fullmatch(f) or _POINT.fullmatch(f))]
    return len(others) < len(real) and all(map(_CLOCK.fullmatch, others))


def _is_numbering(fields: list[str]) -> bool:
    """Returns whether a line is the 0, 1, 2, ... that libraries write above unnamed columns."""
    numbers = fields[1:] if fields[0] == "" else fields
    return len(numbers) > 2 and numbers == [str(i) for i in range(len(numbers))]


def _has_comma(fields: list[str]) -> bool:
    return any("," in field and _COMMA.fullmatch(field) for field in fields)


def _are_thousands(rows: list[list[str]]) -> bool:
    """Returns whether all commas may separate thousands, as in `1,234`."""
    fields = (field for row in rows for field in row if "," in field)
    return all(_IN_THOUSANDS.fullmatch(field) for field in fields)


def _described(
    heading: list[str], rows: list[list[str]], mark: str | None, decimal: str
) -> dict[str, Any]:
    """Returns the layout of the columns and what the lines above them state."""
    first = rows[0]
    width = len(first)
    lines = [
        line
        for line in heading
        if not (is_comment(line) or (_is_metadata(line) and not _names_columns(line, mark, width)))
    ]
    if mark is None:  # the space before a unit in brackets separates no columns
        lines = [_UNIT_IN_BRACKETS.sub(r"\1", line) for line in lines]
    titles = [split(line, mark) for line in lines]
    # A line of names is directly above the numbers, or above a line of units.
    units = [""] * width
    known = [_is_unit(field) for field in titles[-1]] if titles else []
    below_names = len(titles) > 1 and len(titles[-2]) == width
    if len(known) == width and (all(known) or (any(known) and below_names)):
        units = titles.pop()
    fits = bool(titles) and max(width - 1, 1) <= len(titles[-1]) <= width
    names = [*titles[-1], *[""] * (width - len(titles[-1]))] if fits else [""] * width
    if not fits:
        names = _json_names(heading, width) or _comment_names(heading, width, mark) or names
    named = [
        unit_lib.in_name(name) if name and not name.isdecimal() else ("", "") for name in names
    ]
    return {
        "decimal": decimal,
        "num_columns": width,
        "names": tuple(name for name, _ in named),
        "units": tuple(own or unit for unit, (_, own) in zip(units, named, strict=True)),
        "clock_columns": tuple(i for i, field in enumerate(first) if _CLOCK.fullmatch(field)),
        **_heading_metadata(heading),
    }


def _json_names(heading: list[str], width: int) -> list[str] | None:
    """Returns the names of columns from a comment in JSON, as OpenSignals writes it, else None.

    The comment names all columns, and for each analogue channel its label and its sensor.
    """
    for line in heading:
        try:
            devices = json.loads(line.lstrip("#% "))
            names, sensors = [], {}
            for device in devices.values():
                names += device["column"]
                sensors |= zip(device.get("label", ()), device.get("sensor", ()), strict=False)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if width - 1 <= len(names) <= width and all(isinstance(name, str) for name in names):
            # The other columns count or hold bits: a unit that is no voltage excludes them.
            other = "{} (digital)" if sensors else "{}"
            names = [str(sensors.get(name, other.format(name))) for name in names]
            return [*names, *[""] * (width - len(names))]  # lines may end with a delimiter
    return None


def _comment_names(heading: list[str], width: int, mark: str | None) -> list[str] | None:
    """Returns the names of columns from the comment directly above, as `numpy.savetxt` writes it;
    None if it does not name leads.
    """
    last = heading[-1] if heading else ""
    names = split(last.lstrip("#% "), mark) if is_comment(last) else []
    named = any(leads.is_ecg(unit_lib.in_name(name)[0]) for name in names)
    return names if named and len(names) == width else None


def _is_unit(text: str) -> bool:
    known = unit_lib.millivolts(text) is not None or unit_lib.seconds(text) is not None
    return known or text in MISSING or "mm:ss" in text or text.lower() in ("sample #", "adu", "nu")


def _is_metadata(line: str) -> bool:
    return any(pattern.search(_unquoted(line)) for pattern in (_RATE, _UNIT, _LEAD))


def _names_columns(line: str, mark: str | None, width: int) -> bool:
    """Returns whether a line such as `lead,sample,mv` names columns rather than the lead."""
    is_other = any(pattern.search(_unquoted(line)) for pattern in (_RATE, _UNIT))
    return len(split(line, mark)) == width > 2 and not is_other


def _unquoted(line: str) -> str:
    return line.replace('"', "").strip()


def _heading_metadata(heading: list[str]) -> dict[str, Any]:
    """Returns rate, unit and lead that the lines above a table state."""
    lines = [_unquoted(line) for line in heading]
    rates = [match for line in lines if (match := _RATE.search(line))]
    units = [match[1] for line in lines if (match := _UNIT.search(line))]
    named = [match[1].strip() for line in lines if (match := _LEAD.search(line))]
    return {
        "sample_rate_hz": _stated_rate(*rates[0].groups()) if rates else None,
        "unit": next((unit for unit in units if unit_lib.millivolts(unit) is not None), ""),
        "lead": named[0] if named else "",
    }


def _stated_rate(number: str, kilo: str) -> float | None:
    """Returns a rate in Hz from a number and an optional `k`."""
    is_thousands = not kilo and _THOUSANDS.fullmatch(number)
    value = _recording.parse_number(number.replace(",", "") if is_thousands else number)
    return value if value is None or not kilo else value * 1000


def clock_seconds(texts: Iterable[str]) -> np.ndarray:
    """Returns the seconds of clock times, float64 [T], with NaN for other text.

    They count from the same moment: the start, a date, or the first midnight for times of day,
    which go on after the next one.
    """
    seconds = np.array([_clock_seconds(text) for text in texts], np.float64)
    midnights = np.cumsum(np.diff(seconds, prepend=seconds[:1]) < -43200)
    return seconds + 86400 * midnights


def _clock_seconds(text: str) -> float:
    match = _CLOCK.fullmatch(text.strip().strip("'\"").strip())
    if match is None:
        return float("nan")
    hours = int(match["hours"] or 0)
    if match["half"]:
        hours = hours % 12 + 12 * (match["half"].lower() == "p")
    seconds = float(match["seconds"].replace(",", "."))
    seconds += 3600 * hours + 60 * int(match["minutes"])
    if match["date"]:
        try:
            days = datetime.date.fromisoformat(match["date"]) - _DAY_0
        except ValueError:  # such as February 30
            return float("nan")
        seconds += 86400 * days.days
    if match["zone"]:
        sign, zone = match["zone"][0], match["zone"][1:].replace(":", "").ljust(4, "0")
        offset = 3600 * int(zone[:2]) + 60 * int(zone[2:])
        seconds -= -offset if sign == "-" else offset
    return seconds
