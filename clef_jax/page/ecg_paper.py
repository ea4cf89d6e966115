"""Draws recordings as clinicians read them: on paper of 25 mm per second and 10 mm per millivolt.

Shapes: L leads, T time.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from clef_jax.leads import STANDARD_12

_INK, _COARSE, _FINE = "#1b263b", "#e9a6a6", "#f7dede"
_COARSE_SECONDS, _COARSE_MV = 0.2, 0.5
"""One large square; a small one is a fifth of it."""
PAPER_SECONDS = 10.0
_ROW_MV = 3.0
_PANEL_SECONDS = 2.5
_ROWS_OF_FOUR = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_RHYTHM_LEAD = "II"


def num_rows(leads: Sequence[str]) -> int:
    """Rows of traces that a recording takes."""
    return len(_ROWS_OF_FOUR) + 1 if set(leads) == set(STANDARD_12) else len(leads)


def draw(
    panel: Axes,
    signal_mv: np.ndarray,
    leads: Sequence[str],
    sample_rate_hz: float,
    *,
    title: str = "",
) -> None:
    """Draws the first ten seconds: twelve leads in the usual form, others each in a row.

    Args:
        signal_mv: [L, T], NaN where nothing was recorded. Each lead is drawn around its median.
        leads: names of the L leads.
    """
    count = num_rows(leads)
    _paper(panel, count)
    if count != len(leads):
        for row, names in enumerate(_ROWS_OF_FOUR):
            for column, name in enumerate(names):
                trace = signal_mv[list(leads).index(name)]
                begin = column * _PANEL_SECONDS
                _trace(panel, trace, sample_rate_hz, row, begin, begin + _PANEL_SECONDS, name)
        leads_left: Sequence[str] = (_RHYTHM_LEAD,)
    else:
        leads_left = leads
    for row, name in enumerate(leads_left, start=count - len(leads_left)):
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
    # Beyond its row a trace would hide its neighbours.
    shown = np.clip(shown, -_ROW_MV, _ROW_MV) + middle_mv
    panel.plot(begin + np.arange(len(shown)) / rate, shown, color=_INK, lw=0.6)
    panel.text(begin + 0.05, middle_mv + 0.4 * _ROW_MV, name, fontsize=7, va="top")
