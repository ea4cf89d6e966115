"""Recordings are drawn to scale on ECG paper."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest
from culprits import assert_names

from clef_jax.leads import STANDARD_12
from clef_jax.page import ecg_strips


def drawn(leads, rate_hz=500, amplitude_mv=1.0, seconds=10):
    signal = np.zeros((len(leads), rate_hz * seconds))
    signal[:, 2 * rate_hz : 3 * rate_hz] = amplitude_mv
    return ecg_strips.draw(signal, leads, rate_hz, "a title")


def traces(text):
    root = xml.etree.ElementTree.fromstring(text)
    return [p.get("d") for p in root.iter("path") if "trace" in p.get("class")]


def test_twelve_leads_have_the_usual_layout():
    text = drawn(STANDARD_12)
    assert len(traces(text)) == 13
    assert_names(text, "12 leads", "aVR", "a title")


@pytest.mark.parametrize("leads", [("I",), ("X", "Y", "Z")])
def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five(leads):
    paths = traces(drawn(leads))
    assert len(paths) == len(leads)
    steps = [float(n) for n in re.findall(r"-?\d*\.?\d+", paths[0].partition("l")[2])]
    x, y = np.cumsum(steps[0::2]), np.cumsum(steps[1::2])
    per_mm = ecg_strips._PIXELS_PER_MM
    assert x[-1] == pytest.approx((10 - 1 / 500) * 25 * per_mm, abs=0.2)
    assert -y.min() == pytest.approx(10 * per_mm, abs=0.2)


def test_gaps_and_short_and_large_signals():
    gap = ecg_strips.draw(np.full((1, 900), np.nan), ("I",), 300)
    assert not traces(gap)
    assert traces(drawn(("I",), seconds=61))
    assert traces(drawn(("I",), amplitude_mv=99.0))
