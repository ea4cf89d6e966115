"""Charts are SVG with round ticks, short paths, and a text."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest

from clef_jax.page import chart
from clef_jax.page.panel import Panel


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.803, 0.951, [0.85, 0.9, 0.95]),
        (3, 3, [3]),
        (-2e6, 2e6, [-2e6, -1e6, 0, 1e6, 2e6]),
    ],
)
def test_ticks_are_round(low, high, wanted):
    assert chart.ticks(low, high, most=len(wanted)) == pytest.approx(wanted)


def test_a_domain_is_never_empty():
    assert chart.domain([]) == (0, 1)
    assert chart.domain([np.nan]) == (0, 1)
    low, high = chart.domain([5.0])
    assert low < 5 < high
    low, high = chart.domain([0.0, 0.0])
    assert low < 0 < high


def test_numbers_align():
    assert [chart.value(v) for v in (0.9, 10, 123.4, 12345.6)] == ["0.900", "10.0", "123", "12,346"]


def test_a_line_keeps_its_shape():
    x = np.linspace(0, 10, 2000)
    places = [(a, 5 * np.sin(a)) for a in x]
    kept = chart.simplify(places, 0.1)
    assert len(kept) < 100
    there = np.interp(x, *np.transpose(kept))
    # The tolerance is a distance from the line, which is steep.
    assert np.abs(there - 5 * np.sin(x)).max() < 0.1 * np.hypot(1, 5)


def parsed(drawn: str) -> xml.etree.ElementTree.Element:
    return xml.etree.ElementTree.fromstring(drawn)


def test_a_path_is_where_the_numbers_are():
    panel = Panel((0, 10), (0, 1), width=300, height=200)
    panel.line([0, 5, 10], [0, 1, 0], 2)
    drawn = parsed(panel.draw("a line"))
    (line,) = [part for part in drawn.iter("path") if "line" in part.get("class", "")]
    assert "series-2" in line.get("class")
    numbers = [float(n) for n in re.findall(r"-?\d*\.?\d+", line.get("d"))]
    x, y = numbers[0::2], numbers[1::2]
    assert np.cumsum(x) == pytest.approx([panel.left, (panel.left + panel.right) / 2, panel.right])
    assert np.cumsum(y) == pytest.approx([panel.bottom, panel.top, panel.bottom], abs=0.1)


def test_a_single_value_is_a_point_and_a_gap_interrupts():
    panel = Panel((0, 3), (0, 1))
    panel.line([0, 1, 2, 3], [0.5, np.nan, 0.5, 0.6], 0)
    drawn = panel.draw("")
    assert drawn.count('class="mark') == 1
    assert drawn.count('class="line') == 1


def test_every_series_has_its_own_marker():
    drawn = [chart.marker(index, 0, 0) for index in range(28)]
    assert len(set(drawn)) == 28


def test_texts_are_escaped_and_shortened():
    panel = Panel((0, 1), (0, 1), title="<a>", x_name="<b>", y_name="<c>")
    panel.message("<d>")
    drawn = panel.draw("<e> & more")
    parsed(drawn)
    for name in "abcde":
        assert f"<{name}>" not in drawn
    assert chart.shorten("a rather long name", 9) == "a ra…name"
    assert chart.shorten("short", 9) == "short"


def test_a_density_has_a_square_for_each_bin_with_something():
    panel = Panel((0, 2), (0, 2))
    panel.squares(np.arange(3.0), np.arange(3.0), np.array([[0, 1], [4, 0]]))
    shades = [p for p in parsed(panel.draw("")).iter("path") if p.get("class") == "shade"]
    assert sorted(float(p.get("opacity")) for p in shades) == [0.4, 1]
    assert sum(p.get("d").count("M") for p in shades) == 2


def test_dots_of_one_pixel_are_one_dot():
    panel = Panel((0, 1), (0, 1))
    panel.dots([0.5] * 100, [0.5] * 100, "unknown")
    assert panel.draw("").count("h0") == 1
