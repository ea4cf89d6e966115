"""Recordings are plotted to scale."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from clef_jax.leads import STANDARD_12
from clef_jax.page import ecg_paper


def drawn(leads, rate=500, seconds=10, amplitude_mv=1.0):
    panel = Figure().subplots()
    signal = np.zeros((len(leads), round(rate * seconds)))
    signal[:, 3 * rate] = amplitude_mv
    ecg_paper.plot(panel, signal, leads, rate, title="a title")
    return panel


def test_twelve_leads_in_the_usual_form():
    panel = drawn(STANDARD_12)
    names = [text.get_text() for text in panel.texts]
    assert sorted(names) == sorted([*STANDARD_12, "II"])
    traces = panel.get_lines()
    assert len(traces) == 13
    begins = [trace.get_xdata()[0] for trace in traces]
    assert sorted(set(begins)) == [0, 2.5, 5, 7.5]
    assert len(traces[-1].get_xdata()) == 5000


@pytest.mark.parametrize("leads", [("I",), ("X", "Y", "Z")])
def test_other_leads_take_a_row_each(leads):
    panel = drawn(leads, rate=200)
    assert len(panel.get_lines()) == len(leads) == ecg_paper.num_rows(leads)
    for row, trace in enumerate(panel.get_lines()):
        y = trace.get_ydata()
        assert y[0] == -3 * (row + 0.5)
        assert y[600] - y[0] == 1.0


def test_one_millivolt_is_as_high_as_two_fifths_of_a_second_are_wide():
    panel = drawn(("I",))
    assert panel.get_aspect() == pytest.approx(0.4)


def test_gaps_and_short_and_long_signals():
    panel = Figure().subplots()
    signal = np.full((1, 900), np.nan)
    ecg_paper.plot(panel, signal, ("I",), 300)
    assert np.isnan(panel.get_lines()[0].get_ydata()).all()
    assert len(drawn(("I",), seconds=61).get_lines()[0].get_xdata()) == 5000
    assert max(abs(drawn(("I",), amplitude_mv=99.0).get_lines()[0].get_ydata())) <= 4.5
