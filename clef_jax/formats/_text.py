"""How a table of numbers is laid out in a text file, told from its beginning.

Delimiters are tab, `;`, `,` or spaces; the decimal sign is a point, or a comma where that is not
the delimiter. One column of numbers with decimal commas is read as two columns.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from clef_jax.signal import unit as unit_lib

MISSING = ("", "-", "--", "?", "NaN", "nan", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None")
_HEAD_BYTES = 1 << 16
_MAX_HEADING_LINES = 60
_CLEAN_FRACTION = 0.8
"""Of the lines after the first numbers; a line may be broken in a table, but not every other."""
_SPLITTERS = (("\t", "\t"), (";", ";"), (",", ","), (r"\s+", None))
_NUMBER = r"[-+]?(?:\d+{0}?\d*|{0}\d+)(?:[eE][-+]?\d+)?|[-+]?inf"
_POINT, _COMMA = (re.compile(_NUMBER.format(sign)) for sign in (r"\.", ","))
_CLOCK = re.compile(
    r"\[?(?:\d{4}-\d\d-\d\d[T ])?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)Z?(?: [\d/-]+)?\]?"
)
_RATE = re.compile(
    r"(?:\bsampl\w*[ _-]?(?:rate|freq\w*)|\bfs)(?:[ _]?[(\[]?hz[)\]]?)?\W+(\d+\.?\d*)\s*(k?)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"^\W*units?\s*[,:;=\t]\W*(\S+)", re.IGNORECASE)
_LEAD = re.compile(r"^\W*lead\s*[,:;=\t]\W*(\w.*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What is to be known before the numbers are read."""

    separator: str
    """As pandas takes it."""
    decimal: str
    first_line: int
    """The line, from 0, where the numbers begin."""
    num_columns: int
    names: tuple[str, ...]
    """Of the columns; empty where there is none."""
    units: tuple[str, ...]
    """Of the columns, as the names or a line of their own say; empty where nothing says it."""
    clock_columns: tuple[int, ...]
    """Columns of times as `0:00.004`."""
    sample_rate_hz: float | None
    """As comments or lines above the table say, which also say the next two."""
    unit: str
    """Of all columns that have none of their own; empty if nothing says it."""
    lead: str


def layout(path: Path) -> Layout | None:
    """The layout of a table of numbers; None if the file is none.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if b"\0" in head:
        return None
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if len(head) == _HEAD_BYTES:
        lines.pop()  # it may be cut
    heading: list[str] = []
    for number, line in enumerate(lines[: _MAX_HEADING_LINES + 1]):
        for (separator, mark), decimal in ((s, d) for s in _SPLITTERS for d in ".,"):
            absent = mark is not None and mark not in line
            fields = _split(line, mark)
            if mark == decimal or absent or not _is_data(fields, decimal) or _counts(fields):
                continue
            rest = [_split(later, mark) for later in lines[number:] if not _is_comment(later)]
            if sum(_is_data(row, decimal) for row in rest) < _CLEAN_FRACTION * len(rest):
                return None
            decimal = "," if any(_has_comma(row) for row in rest) and mark != "," else "."
            return _described(heading, rest, separator, mark, decimal, number)
        heading.append(line)
    return None


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(("#", "%"))


def _split(line: str, mark: str | None) -> list[str]:
    return [field.strip().strip("'\"").strip() for field in line.strip(" \r\n").split(mark)]


def _is_data(fields: list[str], decimal: str) -> bool:
    number = _COMMA if decimal == "," else _POINT
    real = [field for field in fields if field not in MISSING]
    plain = [field for field in real if number.fullmatch(field) or _POINT.fullmatch(field)]
    return bool(plain) and all(f in plain or _CLOCK.fullmatch(f) for f in real)


def _counts(fields: list[str]) -> bool:
    """Whether a line is the 0, 1, 2 ... that libraries write above columns without names."""
    numbers = fields[1:] if fields[0] == "" else fields
    return len(numbers) > 2 and numbers == [str(i) for i in range(len(numbers))]


def _has_comma(fields: list[str]) -> bool:
    return any("," in field and _COMMA.fullmatch(field) for field in fields)


def _described(
    heading: list[str],
    rows: list[list[str]],
    separator: str,
    mark: str | None,
    decimal: str,
    first_line: int,
) -> Layout:
    first = rows[0]
    width = len(first)
    titles = [_split(line, mark) for line in heading if not (_is_comment(line) or _says_fact(line))]
    # A line of names stands right above the numbers, with one of units in between at most.
    units = [""] * width
    known = [_is_unit(field) for field in titles[-1]] if titles else []
    below_names = len(titles) > 1 and len(titles[-2]) == width
    if len(known) == width and (all(known) or (any(known) and below_names)):
        units = titles.pop()
    fits = bool(titles) and max(width - 1, 1) <= len(titles[-1]) <= width
    names = [*titles[-1], *[""] * (width - len(titles[-1]))] if fits else [""] * width
    named = [unit_lib.in_name("" if name.isdecimal() else name) for name in names]
    return Layout(
        separator=separator,
        decimal=decimal,
        first_line=first_line,
        num_columns=width,
        names=tuple(name for name, _ in named),
        units=tuple(own or unit for unit, (_, own) in zip(units, named, strict=True)),
        clock_columns=tuple(i for i, field in enumerate(first) if _CLOCK.fullmatch(field)),
        **_facts(heading),
    )


def _is_unit(text: str) -> bool:
    known = unit_lib.millivolts(text) is not None or unit_lib.seconds(text) is not None
    return known or text in MISSING or "mm:ss" in text or text.lower() in ("sample #", "adu", "nu")


def _says_fact(line: str) -> bool:
    return any(pattern.search(_unquoted(line)) for pattern in (_RATE, _UNIT, _LEAD))


def _unquoted(line: str) -> str:
    return line.replace('"', "").strip()


def _facts(heading: list[str]) -> dict[str, Any]:
    """What lines above the table say of all of it."""
    lines = [_unquoted(line) for line in heading]
    rates = [found for line in lines if (found := _RATE.search(line))]
    units = [found[1] for line in lines if (found := _UNIT.search(line))]
    named = [found[1].strip() for line in lines if (found := _LEAD.search(line))]
    return {
        "sample_rate_hz": float(rates[0][1]) * (1000 if rates[0][2] else 1) if rates else None,
        "unit": next((unit for unit in units if unit_lib.millivolts(unit) is not None), ""),
        "lead": named[0] if named else "",
    }


def clock_seconds(text: str) -> float:
    """Seconds of a time of day, or since the start; NaN if it is none."""
    found = _CLOCK.fullmatch(text.strip().strip("'\"").strip())
    if found is None:
        return float("nan")
    hours, minutes, seconds = found.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
