"""Draws charts as SVG: their texts, markers, lines and legends; `panel` has charts with axes.

Pages hold SVG of our own rather than pictures or a plotting library in JavaScript: a chart takes
some kilobytes instead of megabytes, is sharp on paper, takes its colours from the page (light, dark
or printed), has a text for readers who cannot see it, and needs neither a network nor a script.

Shapes: N points.
"""

import html
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from clef_jax.page import colour

NUM_MARKERS = 4
_DASHES = ("", "6 3", "2 2", "8 3 2 3")


def number(value: float) -> str:
    """Returns a coordinate with at most one decimal."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def label(value: float) -> str:
    """Returns a number as axes and texts show it."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def value(number: float) -> str:
    """Returns a number with three significant digits, zeros among them, so that columns align."""
    return f"{number:#.3g}".rstrip(".") if abs(number) < 1000 else f"{number:,.0f}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns round numbers between two numbers, at equal distances.

    There are at most `most` of them, or some more where otherwise there would be a single one.
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    shown: list[float] = []
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last == first and len(shown) > 1:
            break  # one number says nothing about the scale
        shown = [round(n * step, 12) for n in range(first, last + 1)]
        if len(shown) <= most:
            break
    return shown


def domain(values: Iterable[float], margin: float = 0.04) -> tuple[float, float]:
    """Returns a range around the finite values; 0 to 1 without any, and never of no width."""
    finite = np.array([v for v in values if math.isfinite(v)], float)
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if high <= low:
        half = abs(low) / 10 or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def svg(width: float, height: float, text: str, content: str) -> str:
    """Returns an SVG element that scales with the page, and whose text describes it."""
    return (
        f'<svg viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" role="img" '
        f'aria-label="{html.escape(text)}">{content}</svg>'
    )


def words(
    x: float, y: float, text: str, *, anchor: str = "start", kind: str = "", hint: str = ""
) -> str:
    """Returns a text at a position.

    Args:
        anchor: start, middle or end: the part of the text that is at x.
        kind: CSS classes.
        hint: text that appears when the pointer rests on it.
    """
    kind = " ".join(filter(None, (kind, anchor.removeprefix("start"))))
    classes = f' class="{kind}"' if kind else ""
    title = f"<title>{html.escape(hint)}</title>" if hint else ""
    content = f"{title}{html.escape(text)}"
    return f'<text x="{number(x)}" y="{number(y)}"{classes}>{content}</text>'


def shorten(text: str, most: int) -> str:
    """Returns a text with an ellipsis in its middle if it has too many characters."""
    if len(text) <= most:
        return text
    head = (most - 1 + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (most - 1 - head) :].lstrip()}"


def series(index: int) -> str:
    """Returns the CSS class of the colour of a series."""
    return f"series-{index % colour.NUM_SERIES}"


def marker(index: int, x: float, y: float, radius: float = 3.5, *, hint: str = "") -> str:
    """Returns the marker of a series, whose colour and shape together are its own.

    There are 28 of them, as the numbers of colours and shapes have no common divisor.
    """
    r = radius
    shape = (
        f"M{number(x - r)} {number(y)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        f"M{number(x - r)} {number(y - r)}h{2 * r}v{2 * r}h{-2 * r}z",
        f"M{number(x)} {number(y - 1.3 * r)}l{1.3 * r} {2.2 * r}h{-2.6 * r}z",
        f"M{number(x)} {number(y - 1.4 * r)}l{1.4 * r} {1.4 * r}l{-1.4 * r} {1.4 * r}"
        f"l{-1.4 * r} {-1.4 * r}z",
    )[index % NUM_MARKERS]
    title = f"<title>{html.escape(hint)}</title>" if hint else ""
    return f'<path class="mark {series(index)}" d="{shape}">{title}</path>'


def legend(names: Sequence[str], *, lines: bool = True) -> str:
    """Returns the HTML of a legend of series, each with its marker, and its line if it has one."""
    items = []
    for index, name in enumerate(names):
        line = line_style(index) if lines else ""
        drawn = f'<path class="line {series(index)}"{line} d="M0 6h24"/>' if lines else ""
        drawn += marker(index, 12, 6)
        items.append(
            f'<li><svg width="24" height="12" aria-hidden="true">{drawn}</svg>'
            f"{html.escape(name)}</li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def line_style(index: int) -> str:
    dash = _DASHES[index % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


Place = tuple[float, float]


def runs_of(places: Sequence[Place | None]) -> list[list[Place]]:
    """Returns the parts of a line between its gaps."""
    runs: list[list[Place]] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


def path_of(places: Sequence[Place]) -> str:
    """Returns the commands of a path through positions, in tenths of a pixel."""
    tenths = [(round(10 * x), round(10 * y)) for x, y in places]
    parts = [f"M{_tenths(tenths[0][0])} {_tenths(tenths[0][1])}l"]
    for (x, y), (next_x, next_y) in itertools.pairwise(tenths):
        for step in (_tenths(next_x - x), _tenths(next_y - y)):
            # A minus separates two numbers as a space does.
            parts.append(step if step.startswith("-") or parts[-1][-1] == "l" else f" {step}")
    return "".join(parts).removesuffix("l")


def _tenths(count: int) -> str:
    """Returns a number of tenths as a short decimal number."""
    whole, rest = divmod(abs(count), 10)
    sign = "-" if count < 0 else ""
    return f"{sign}{whole}" if not rest else f"{sign}{whole or ''}.{rest}"


def simplify(places: Sequence[Place], tolerance: float) -> list[Place]:
    """Returns a line without the points that it misses by less than a distance in pixels
    (Douglas and Peucker 1973)."""
    points = np.array(places, float)
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        offset, way = points[first + 1 : last] - points[first], points[last] - points[first]
        length = math.hypot(*way)
        if length:
            distance = np.abs(offset[:, 0] * way[1] - offset[:, 1] * way[0]) / length
        else:
            distance = np.hypot(*offset.T)
        farthest = int(distance.argmax())
        if distance[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return [(float(x), float(y)) for x, y in points[keep]]


def trace(x: np.ndarray, y: np.ndarray, kind: str, tolerance_pixels: float) -> str:
    """Returns a line through positions in pixels, [N], with gaps where a value is not finite."""
    places = [
        (a, b) if math.isfinite(b) else None for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    runs = [simplify(run, tolerance_pixels) for run in runs_of(places) if len(run) > 1]
    return f'<path class="{kind}" d="{"".join(map(path_of, runs))}"/>' if runs else ""


def grid(*charts: str, kind: str = "") -> str:
    """Returns charts side by side.

    Args:
        charts: HTML of each chart.
        kind: "three" for at most three in a row, "broad" for one; by default as many as fit.
    """
    # A broad chart keeps its size on a small screen, where it is scrolled, by keyboard as well.
    focus = ' tabindex="0"' if kind == "broad" else ""
    figures = "".join(f"<figure{focus}>{chart}</figure>" for chart in charts)
    return f'<div class="{f"charts {kind}".rstrip()}">{figures}</div>'
