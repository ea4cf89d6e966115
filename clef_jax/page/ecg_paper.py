"""Plots recordings on ECG paper: 25 mm per second and 10 mm per millivolt.

Shapes: L leads, T time (samples).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from clef_jax.leads import STANDARD_12

_INK, _COARSE, _FINE = "#1b263b", "#e9a6a6", "#f7dede"
_COARSE_SECONDS, _COARSE_MV = 0.2, 0.5
"""Size of a large square; a small square is a fifth of it."""
PAPER_SECONDS = 10.0
_ROW_MV = 3.0
_PANEL_SECONDS = 2.5
_ROWS_OF_FOUR = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_RHYTHM_LEAD = "II"


def num_rows(leads: Sequence[str]) -> int:
    """Returns the number of rows of traces of a recording."""
    return len(_ROWS_OF_FOUR) + 1 if set(leads) == set(STANDARD_12) else len(leads)


def plot(
    panel: Axes,
    signal_mv: np.ndarray,
    leads: Sequence[str],
    sample_rate_hz: float,
    *,
    title: str = "",
) -> None:
    """Plots the first ten seconds of a recording.

    Twelve leads have the usual layout: three rows of four leads and a rhythm strip. Otherwise each
    lead has a row.

    Args:
        signal_mv: signal in mV, [L, T], NaN where missing; each lead is centred on its median.
        leads: names of the L leads.
        title: title above the paper; by default none.
    """
    count = num_rows(leads)
    _paper(panel, count)
    if count != len(leads):
        for row, names in enumerate(_ROWS_OF_FOUR):
            for column, name in enumerate(names):
                trace = signal_mv[list(leads).index(name)]
                begin = column * _PANEL_SECONDS
                _trace(panel, trace, sample_rate_hz, row, begin, begin + _PANEL_SECONDS, name)
        full_rows: Sequence[str] = (_RHYTHM_LEAD,)
    else:
        full_rows = leads
    for row, name in enumerate(full_rows, start=count - len(full_rows)):
        trace = signal_mv[list(leads).index(name)]
        _trace(panel, trace, sample_rate_hz, row, 0.0, PAPER_SECONDS, name)
    panel.set_title(title, fontsize=9, loc="left")


def _paper(panel: Axes, count: int) -> None:
    height_mv = _ROW_MV * count
    panel.set_xlim(0, PAPER_SECONDS)
    panel.set_ylim(-height_mv, 0)
    panel.set_aspect(_COARSE_SECONDS / _COARSE_MV)
    for axis, coarse, end in (
        (panel.xaxis, _COARSE_SECONDS, PAPER_SECONDS),
        (panel.yaxis, _COARSE_MV, height_mv),
    ):
        sign = 1 if axis is panel.xaxis else -1
        axis.set_ticks(sign * np.arange(0, end + 1e-9, coarse))
        axis.set_ticks(sign * np.arange(0, end + 1e-9, coarse / 5), minor=True)
        axis.set_tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    panel.set_axisbelow(True)
    panel.grid(which="minor", color=_FINE, lw=0.3)
    panel.grid(which="major", color=_COARSE, lw=0.5)
    for side in panel.spines.values():
        side.set_color(_COARSE)


def _trace(
    panel: Axes, trace: np.ndarray, rate: float, row: int, begin: float, end: float, name: str
) -> None:
    first, last = round(begin * rate), round(end * rate)
    middle_mv = -(row + 0.5) * _ROW_MV
    known = trace[np.isfinite(trace)]
    shown = trace[first:last] - (np.median(known) if len(known) else 0.0)
    # Clip the trace, so that it does not cover distant rows.
    shown = np.clip(shown, -_ROW_MV, _ROW_MV) + middle_mv
    panel.plot(begin + np.arange(len(shown)) / rate, shown, color=_INK, lw=0.6)
    panel.text(begin + 0.05, middle_mv + 0.4 * _ROW_MV, name, fontsize=7, va="top")


RAISES, LOWERS = "#e76f00", "#1f6fb4"
"""Colours of parts that raise and that lower an answer; neither is that of the paper."""
_MOST_OPAQUE = 0.75


def shade(panel: Axes, row: int, edges_seconds: np.ndarray, strength: np.ndarray) -> None:
    """Colours parts of a row behind its trace.

    Args:
        panel: panel that `plot` has drawn.
        row: number of the row, from 0 at the top.
        edges_seconds: start of each of the n parts and the end of the last, [n + 1].
        strength: opacity of each part, from -1 (`LOWERS`) to 1 (`RAISES`), [n].
    """
    size = np.clip(np.abs(strength), 0, 1) * _MOST_OPAQUE
    colours = [
        to_rgba(RAISES if value > 0 else LOWERS, alpha)
        for value, alpha in zip(strength, size, strict=True)
    ]
    parts = list(zip(edges_seconds[:-1], np.diff(edges_seconds), strict=True))
    top = -_ROW_MV * row
    panel.broken_barh(parts, (top - _ROW_MV, _ROW_MV), facecolors=colours, lw=0, zorder=0.6)
