"""A chart with two axes, which is built from calls that each add something.

Shapes: N points.
"""

import math
from collections.abc import Sequence

import numpy as np

from clef_jax.page import chart

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 22, 34
"""Margins of a panel in pixels: numbers, the half of the last number, title, numbers and name."""
_PIXELS_OF_TITLE = 7.2
"""Width of a letter of a title."""


class Panel:
    """A chart with two axes, which is built from calls that each add something."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        title: str = "",
        x_name: str = "",
        y_name: str = "",
        width: float = 300,
        height: float = 220,
        log_x: bool = False,
        x_ticks: Sequence[float] | None = None,
        y_ticks: Sequence[float] | None = None,
    ):
        """Makes a panel with its axes.

        Args:
            x, y: ranges of the axes.
            width, height: size of the whole chart in pixels.
            log_x: whether the horizontal axis is logarithmic.
            x_ticks, y_ticks: numbers to show; by default round ones. Empty hides them.
        """
        self._x, self._y, self._log_x = x, y, log_x
        self.title, self.width, self.height = title, width, height
        left = _LEFT if y_ticks is None or len(y_ticks) else _RIGHT
        left += 14 if y_name else 0
        top = _TOP if title else 8
        bottom = _BOTTOM + (0 if x_name else -14) - (0 if x_ticks is None or len(x_ticks) else 14)
        self.left, self.right = left, width - _RIGHT
        self.top, self.bottom = top, height - bottom
        self._parts: list[str] = []
        if x_ticks is None:
            x_ticks = _log_ticks(*x) if log_x else chart.ticks(*x, most=max(2, int(width) // 60))
        if y_ticks is None:
            y_ticks = chart.ticks(*y, most=max(2, int(height) // 45))
        self._axes(x_ticks, y_ticks, x_name, y_name)

    def _axes(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str
    ) -> None:
        if self.title:
            title = chart.shorten(self.title, int((self.right - self.left) / _PIXELS_OF_TITLE))
            hint = self.title if title != self.title else ""
            self._parts.append(chart.words(self.left, 13, title, kind="name", hint=hint))
        grid = "".join(f"M{chart.number(self.at_x(v))} {self.top}V{self.bottom}" for v in x_ticks)
        grid += "".join(f"M{self.left} {chart.number(self.at_y(v))}H{self.right}" for v in y_ticks)
        self._parts.append(f'<path class="grid" d="{grid}"/>')
        below = self.bottom + 14
        self._parts += [
            chart.words(self.at_x(v), below, chart.label(v), anchor="middle") for v in x_ticks
        ]
        self._parts += [
            chart.words(self.left - 5, self.at_y(v) + 4, chart.label(v), anchor="end")
            for v in y_ticks
        ]
        if x_name:
            at = self.bottom + (28 if len(x_ticks) else 14)
            self._parts.append(chart.words(self.right, at, x_name, anchor="end", kind="axis"))
        if y_name:
            text = chart.words(0, 0, y_name, anchor="middle", kind="axis")
            middle = (self.top + self.bottom) / 2
            turned = f'<g transform="translate(11 {chart.number(middle)}) rotate(-90)">{text}</g>'
            self._parts.append(turned)

    def at_x(self, value: float) -> float:
        """Returns the horizontal position of a value in pixels."""
        low, high = self._x
        if self._log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        """Returns the vertical position of a value in pixels."""
        low, high = self._y
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def line(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        index: int = 0,
        *,
        kind: str | None = None,
        points: bool = False,
        tolerance_pixels: float = 0.3,
    ) -> None:
        """Adds a line through points [N]; it is interrupted where a value is not finite.

        Args:
            index: number of the series, which gives colour and dashes.
            kind: CSS classes instead of those of the series.
            points: whether each point has a marker; a single point always has one.
            tolerance_pixels: largest distance by which points may be left out.
        """
        places = [
            (self.at_x(a), self.at_y(b)) if math.isfinite(a) and math.isfinite(b) else None
            for a, b in zip(np.asarray(x, float), np.asarray(y, float), strict=True)
        ]
        runs = chart.runs_of(places)
        style = f' class="line {chart.series(index)}"{chart.line_style(index)}'
        style = style if kind is None else f' class="{f"line {kind}".rstrip()}"'
        path = "".join(
            chart.path_of(chart.simplify(run, tolerance_pixels)) for run in runs if len(run) > 1
        )
        if path:
            self._parts.append(f'<path{style} d="{path}"/>')
        shown = [place for run in runs if points or len(run) == 1 for place in run]
        self._parts += [chart.marker(index, *place, 3.0 if points else 3.5) for place in shown]

    def band(
        self,
        x: Sequence[float] | np.ndarray,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        index: int,
    ) -> None:
        """Adds the area between two lines."""
        there = [(self.at_x(a), self.at_y(b)) for a, b in zip(x, low, strict=True)]
        back = [(self.at_x(a), self.at_y(b)) for a, b in zip(x, high, strict=True)]
        self._parts.append(
            f'<path class="area {chart.series(index)}" d="{chart.path_of(there + back[::-1])}z"/>'
        )

    def dots(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        kind: str,
        size: float = 4,
    ) -> None:
        """Adds small dots of one CSS class; dots at the same pixel are one dot."""
        places = {
            (round(self.at_x(a)), round(self.at_y(b)))
            for a, b in zip(np.asarray(x, float), np.asarray(y, float), strict=True)
            if math.isfinite(a) and math.isfinite(b)
        }
        path = "".join(f"M{a} {b}h0" for a, b in sorted(places))
        if path:
            self._parts.append(f'<path class="dots {kind}" stroke-width="{size:g}" d="{path}"/>')

    def squares(self, edges_x: np.ndarray, edges_y: np.ndarray, density: np.ndarray) -> None:
        """Adds a two-dimensional histogram: darker where more is.

        Args:
            edges_x, edges_y: edges of the bins, [X + 1] and [Y + 1].
            density: counts, [X, Y]; bins without any stay empty.
        """
        left = [self.at_x(edge) for edge in edges_x.tolist()]
        bottom = [self.at_y(edge) for edge in edges_y.tolist()]
        wide, high = left[1] - left[0], bottom[0] - bottom[1]
        shades = np.ceil(5 * density / max(float(density.max()), 1e-12)).astype(int)
        for shade in range(1, 6):
            path = "".join(
                f"M{chart.number(left[a])} {chart.number(bottom[b + 1])}"
                f"h{chart.number(wide)}v{chart.number(high)}h-{chart.number(wide)}z"
                for a, b in zip(*np.nonzero(shades == shade), strict=True)
            )
            if path:
                self._parts.append(f'<path class="shade" opacity="{shade / 5:g}" d="{path}"/>')

    def rectangle(self, x: tuple[float, float], y: tuple[float, float], kind: str) -> None:
        """Adds a rectangle of a CSS class."""
        left, right = chart.number(self.at_x(x[0])), chart.number(self.at_x(x[1]))
        top, bottom = chart.number(self.at_y(y[1])), chart.number(self.at_y(y[0]))
        path = f"M{left} {top}H{right}V{bottom}H{left}z"
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def across(self, y: float, kind: str = "guide") -> None:
        """Adds a horizontal line over the whole panel."""
        path = f"M{self.left} {chart.number(self.at_y(y))}H{self.right}"
        self._parts.append(f'<path class="line {kind}" d="{path}"/>')

    def upright(self, x: np.ndarray, kind: str) -> None:
        """Adds vertical lines over the whole panel."""
        path = "".join(f"M{chart.number(self.at_x(v))} {self.top}V{self.bottom}" for v in x)
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> None:
        """Adds a text at a position of the axes."""
        self._parts.append(chart.words(self.at_x(x), self.at_y(y), text, anchor=anchor, kind=kind))

    def message(self, text: str) -> None:
        """Adds a text in the middle of the panel, such as the reason why it is empty."""
        x, y = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        self._parts.append(chart.words(x, y, text, anchor="middle", kind="axis"))

    def draw(self, text: str) -> str:
        """Returns the SVG, with a text for readers who cannot see it."""
        return chart.svg(self.width, self.height, text, "".join(self._parts))


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        value for p in powers for f in (1, 2, 5) if low <= (value := f * 10.0**p) <= high * 1.0001
    ]
