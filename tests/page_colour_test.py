"""Every colour of text and lines can be read on its paper, in light and in dark."""

import pytest

from clef_jax.page import colour

LEAST_FOR_TEXT, LEAST_FOR_LINES = 4.5, 3.0


def luminance(text: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["LIGHT", "DARK"])
def test_colours_have_contrast(mode):
    named = getattr(colour, f"_{mode}")
    for name in ("ink", "quiet", "accent", "link"):
        for paper in ("paper", "raised", "best"):
            assert contrast(named[name], named[paper]) >= LEAST_FOR_TEXT, (name, paper)
    for text in getattr(colour, f"_{mode}_SERIES"):
        assert contrast(text, named["paper"]) >= LEAST_FOR_TEXT, text
    for text in getattr(colour, f"_{mode}_SCALE"):
        assert contrast(text, named["paper"]) >= LEAST_FOR_LINES, text


def test_dark_has_the_names_of_light():
    assert list(colour._LIGHT) == list(colour._DARK)
    assert len(colour._LIGHT_SERIES) == len(colour._DARK_SERIES) == colour.NUM_SERIES
    style = colour.style()
    assert style.count(f"--series-{colour.NUM_SERIES - 1}:") == 2
