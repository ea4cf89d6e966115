"""Plots a dot with its interval for each row, to compare models, classes or effects."""

import dataclasses
import html
import math
from collections.abc import Sequence

from clef_jax.page import chart

_ROW, _DENSE_ROW, _MANY_ROWS = 17, 14, 8
"""Height of a row in pixels, and of a row among many."""
_TOP, _AXIS = 4, 18
_WIDTH, _NAME_WIDTH, _VALUE_WIDTH = 300, 112, 66
_PIXELS_OF_LETTER = 6.5
BEST, TIED = "★", "≈"
"""Signs beside the best value and beside those that are tied with it."""


@dataclasses.dataclass(frozen=True)
class Dot:
    """One row of a plot."""

    name: str
    value: float
    """Value; NaN where it is not defined."""
    low: float = math.nan
    high: float = math.nan
    """Ends of the interval; NaN without one."""
    words: str = ""
    """Text in place of a dot, such as "not defined"."""
    sign: str = ""
    """`BEST`, `TIED`, or empty."""
    index: int | None = None
    """Number of the series; by default all rows look alike."""

    def __str__(self) -> str:
        text = f"{self.name} {chart.value(self.value)}" if math.isfinite(self.value) else self.name
        if math.isfinite(self.low):
            text += f" ({chart.value(self.low)} to {chart.value(self.high)})"
        return text + (f", {self.words}" if self.words else "") + _SPOKEN[self.sign]


_SPOKEN = {BEST: ", best", TIED: ", tied with the best", "": ""}


@dataclasses.dataclass(frozen=True)
class Others:
    """Values of others without intervals, which share one row below the plot."""

    name: str
    values: Sequence[float]
    hints: Sequence[str]
    """A text for each value."""


def plot(
    rows: Sequence[Dot],
    text: str,
    *,
    guide: float | None = None,
    others: Others | None = None,
    width: float = _WIDTH,
    name_width: float = _NAME_WIDTH,
    signed: bool = False,
    include: Sequence[float] = (),
) -> str:
    """Returns an SVG with a row for each dot: its name, dot and interval, and its value.

    Args:
        rows: dots, from the top.
        text: beginning of the text for readers who cannot see the plot; the rows follow it.
        guide: value at which there is a vertical line, if it is within the plot.
        others: values of others.
        width, name_width: widths of the chart, and of the names in it, in pixels.
        signed: whether values are differences, which always have a sign.
        include: values that the axis includes.
    """
    pitch = _ROW if len(rows) <= _MANY_ROWS else _DENSE_ROW
    shown = [] if others is None else list(others.values)
    ends = [*include, *(end for row in rows for end in (row.value, row.low, row.high))]
    low, high = chart.domain([*ends, *shown, *([guide] if signed and guide is not None else [])])
    left, right = name_width, width - _VALUE_WIDTH

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    num_rows = len(rows) + (others is not None)
    bottom = _TOP + pitch * num_rows
    marks = chart.ticks(low, high, most=3)
    grid = "".join(f"M{chart.number(at(v))} {_TOP}V{bottom}" for v in marks)
    parts = [f'<path class="grid" d="{grid}"/>']
    parts += [chart.words(at(v), bottom + 13, chart.label(v), anchor="middle") for v in marks]
    if guide is not None and low <= guide <= high:
        parts.append(f'<path class="line guide" d="M{chart.number(at(guide))} {_TOP}V{bottom}"/>')
    most = int(name_width / _PIXELS_OF_LETTER)
    for number, row in enumerate(rows):
        y = _TOP + pitch * (number + 0.5)
        parts += _row(row, y, pitch, at, most, (left, right, width), signed=signed)
    if others is not None:
        y = _TOP + pitch * (len(rows) + 0.5)
        parts.append(chart.words(0, y + 4, chart.shorten(others.name, most), kind="faint"))
        parts += [
            f'<path class="hollow" d="M{chart.number(at(v))} {y - 4:g}l4 4l-4 4l-4 -4z">'
            f"<title>{html.escape(hint)}</title></path>"
            for v, hint in zip(others.values, others.hints, strict=True)
        ]
    said = [str(row) for row in rows]
    if others is not None:
        said.append(f"{others.name}: {', '.join(others.hints)}")
    return chart.svg(width, bottom + _AXIS, f"{text} {'; '.join(said)}.", "".join(parts))


def _row(row: Dot, y: float, pitch: float, at, most: int, edges, *, signed: bool) -> list[str]:
    """Returns the parts of one row, whose middle is at y."""
    left, right, width = edges
    parts = []
    if row.sign:
        place = f"M0 {y - pitch / 2:g}H{width:g}v{pitch:g}H0z"
        parts.append(f'<path class="row" d="{place}"/>')
    kind = "strong" if row.sign == BEST else ""
    name = chart.shorten(row.name, most)
    parts.append(chart.words(0, y + 4, name, kind=kind, hint=row.name if name != row.name else ""))
    if row.words:
        middle = (left + right) / 2
        parts.append(chart.words(middle, y + 4, row.words, anchor="middle", kind="faint"))
    elif math.isfinite(row.value):
        colour = "" if row.index is None else f" {chart.series(row.index)}"
        if math.isfinite(row.low):
            span = f"M{chart.number(at(row.low))} {y:g}H{chart.number(at(row.high))}"
            parts.append(f'<path class="line{colour or " span"}" d="{span}"/>')
        x = at(row.value)
        if row.index is None:
            circle = f"M{chart.number(x - 3.5)} {y:g}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z"
            parts.append(f'<path class="mark" d="{circle}"/>')
        else:
            parts.append(chart.marker(row.index, x, y, 3.3))
    if math.isfinite(row.value):
        value = chart.value(row.value)
        value = f"+{value}" if signed and row.value > 0 else value
        parts.append(chart.words(width - 14, y + 4, value, anchor="end", kind=kind))
    if row.sign:
        parts.append(chart.words(width - 11, y + 4, row.sign))
    return parts
