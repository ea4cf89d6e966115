"""Plots an explained window: the ECG on paper, coloured by what moved the answer, above bars.

Shapes: C leads, T samples of the window, n segments.
"""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clef_jax.explaining.target import LOG_ODDS
from clef_jax.page import ecg_paper

if TYPE_CHECKING:
    from clef_jax.explaining.explanation import Explanation

_WIDTH_INCHES, _MARGIN_INCHES = 11.0, 0.75
_PAPER_INCHES = _WIDTH_INCHES - _MARGIN_INCHES - 0.1
_STRIP_INCHES = _PAPER_INCHES * 30 / (ecg_paper.PAPER_SECONDS * 25)
"""Height of a row of paper, 30 mm where a second is 25 mm wide."""
_BARS_INCHES, _GAP_INCHES = 1.1, 0.45
_UNRECORDED = "#c9ced8"
_UNKNOWN_UNIT_MV = 2.0
"""Height of a signal in an unknown unit, from its 1st to its 99th percentile."""


def plot(explanation: "Explanation") -> Figure:
    """Plots the window, one row of paper for each lead and each ten seconds, and bars below."""
    window = explanation.window
    num_strips = max(1, int(np.ceil(window.seconds / ecg_paper.PAPER_SECONDS - 1e-6)))
    shares = explanation.contributions
    rows = [(lead, strip) for strip in range(num_strips) for lead in range(len(window.recorded_mv))]
    bars = [(lead, strip) for strip in range(num_strips) for lead in range(len(shares))]
    height = _GAP_INCHES * (len(bars) + 1.4) + _STRIP_INCHES * len(rows) + _BARS_INCHES * len(bars)
    figure = Figure(figsize=(_WIDTH_INCHES, height))
    seconds = min(window.seconds, ecg_paper.PAPER_SECONDS)
    largest = max(float(np.abs(shares).max()), 1e-12)
    top = height - _GAP_INCHES
    for number, (lead, strip) in enumerate(rows):
        panel = _add_panel(figure, top, _STRIP_INCHES, seconds)
        top -= _STRIP_INCHES
        title = _title(explanation) if number == 0 else ""
        _plot_strip(panel, explanation, lead, strip, shares[min(lead, len(shares) - 1)] / largest)
        panel.set_title(title, fontsize=9, loc="left")
    for lead, strip in bars:
        panel = _add_panel(figure, top - 0.1, _BARS_INCHES, seconds)
        top -= _BARS_INCHES + _GAP_INCHES
        _plot_bars(panel, explanation, strip, shares[lead], 1.15 * largest)
        if len(shares) > 1:
            panel.set_title(explanation.lead_names[lead], fontsize=8, loc="left")
    return figure


def _add_panel(figure: Figure, top_inches: float, height_inches: float, seconds: float) -> Axes:
    height = figure.get_figheight()
    left = _MARGIN_INCHES / _WIDTH_INCHES
    width = _PAPER_INCHES / _WIDTH_INCHES * seconds / ecg_paper.PAPER_SECONDS
    return figure.add_axes(
        (left, (top_inches - height_inches) / height, width, height_inches / height)
    )


def _title(explanation: "Explanation") -> str:
    scale = "25 mm/s, 10 mm/mV" if explanation.unit_known else "25 mm/s, unknown unit"
    return (
        f"{explanation.output}: orange raises the answer, blue lowers it, grey was not recorded "
        f"({scale})"
    )


def _plot_strip(
    panel: Axes, explanation: "Explanation", lead: int, strip: int, strength: np.ndarray
) -> None:
    window = explanation.window
    first = round(strip * ecg_paper.PAPER_SECONDS * window.sample_rate_hz)
    signal = window.recorded_mv[lead]
    if not explanation.unit_known and np.isfinite(signal).any():
        low, high = np.nanpercentile(signal, [1, 99])
        signal = signal * (_UNKNOWN_UNIT_MV / max(high - low, 1e-12))
    name = explanation.lead_names[lead]
    ecg_paper.plot(panel, signal[None, first:], (name,), window.sample_rate_hz)
    edges = _edges(explanation) - strip * ecg_paper.PAPER_SECONDS
    ecg_paper.shade(panel, 0, edges, strength)
    _shade_unrecorded(panel, explanation, edges)
    panel.set_xlim(0, min(window.seconds, ecg_paper.PAPER_SECONDS))


def _plot_bars(
    panel: Axes, explanation: "Explanation", strip: int, share: np.ndarray, limit: float
) -> None:
    shift = strip * ecg_paper.PAPER_SECONDS
    edges = _edges(explanation) - shift
    colours = [ecg_paper.RAISES if value > 0 else ecg_paper.LOWERS for value in share]
    panel.bar(edges[:-1], share, np.diff(edges), align="edge", color=colours, lw=0)
    panel.axhline(0, color="#1b263b", lw=0.6)
    _shade_unrecorded(panel, explanation, edges)
    seconds = min(explanation.window.seconds, ecg_paper.PAPER_SECONDS)
    panel.set_xlim(0, seconds)
    panel.set_ylim(-limit, limit)
    ticks = np.arange(0, seconds + 0.5)
    panel.set_xticks(ticks, [f"{explanation.start_seconds + shift + tick:g}" for tick in ticks])
    panel.set_xlabel("seconds from the start of the recording", fontsize=8)
    unit = LOG_ODDS if explanation.unit == LOG_ODDS else explanation.output
    panel.set_ylabel(unit, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _edges(explanation: "Explanation") -> np.ndarray:
    """Returns the start of each segment and the end of the last within the window, [n + 1]."""
    return explanation.segment_seconds * np.arange(explanation.contributions.shape[1] + 1)


def _shade_unrecorded(panel: Axes, explanation: "Explanation", edges: np.ndarray) -> None:
    for number in np.flatnonzero(~explanation.recorded):
        panel.axvspan(edges[number], edges[number + 1], color=_UNRECORDED, lw=0, zorder=0.7)
