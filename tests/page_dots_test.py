"""A row for each dot: its interval, its value, and words where there is none."""

import math
import xml.etree.ElementTree

from clef_jax.page import dots


def test_every_row_is_drawn_and_said():
    rows = [
        dots.Dot("first & best", 0.9, 0.85, 0.95, sign=dots.BEST),
        dots.Dot("second", 0.89, 0.8, 0.93, sign=dots.TIED, index=1),
        dots.Dot("a model with a very long name indeed", math.nan, words="not defined"),
    ]
    others = dots.Others("published", [0.7, 0.8], ["A 0.7", "B 0.8"])
    drawn = dots.plot(rows, "task:", guide=0.5, others=others)
    root = xml.etree.ElementTree.fromstring(drawn)
    said = root.get("aria-label")
    for words in ("first & best 0.900 (0.850 to 0.950), best", "tied", "not defined", "B 0.8"):
        assert words in said
    texts = [text.text or text[0].tail for text in root.iter("text")]
    assert {"0.900", "not defined", dots.BEST, dots.TIED} <= set(texts)
    assert drawn.count('class="row"') == 2
    assert drawn.count('class="hollow"') == 2


def test_effects_have_a_sign_and_a_line_at_zero():
    drawn = dots.plot([dots.Dot("b", 0.02, -0.01, 0.05)], "effect:", guide=0.0, signed=True)
    assert ">+0.0200<" in drawn
    assert "guide" in drawn
    assert "guide" not in dots.plot([dots.Dot("b", 0.92, 0.9, 0.95)], "score:", guide=0.5)


def test_rows_without_any_value_are_a_plot_nevertheless():
    drawn = dots.plot([dots.Dot("a", math.nan, words="not defined")], "task:")
    assert "not defined" in drawn
