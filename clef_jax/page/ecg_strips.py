"""Draws recordings on ECG paper as SVG: 25 mm per second and 10 mm per millivolt.

Shapes: L leads, T time (samples).
"""

from collections.abc import Sequence

import numpy as np

from clef_jax.errors import counted
from clef_jax.leads import STANDARD_12
from clef_jax.page import chart

_PIXELS_PER_MM = 3.4
_SECOND, _MILLIVOLT = 25 * _PIXELS_PER_MM, 10 * _PIXELS_PER_MM
_SECONDS, _ROW_MV, _PANEL_SECONDS = 10.0, 3.0, 2.5
_ROWS_OF_FOUR = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_RHYTHM_LEAD = "II"
_TOLERANCE_PIXELS = 0.25


def draw(
    signal_mv: np.ndarray, leads: Sequence[str], sample_rate_hz: float, title: str = ""
) -> str:
    """Returns the first ten seconds of a recording as SVG.

    Twelve leads have the usual layout: three rows of four leads and a rhythm strip. Otherwise each
    lead has a row.

    Args:
        signal_mv: signal in mV, [L, T], NaN where missing; each lead is centred on its median.
        leads: names of the L leads.
        title: title above the paper.
    """
    top = 20.0 if title else 0.0
    pieces = list(_pieces(leads))
    num_rows = 1 + max(row for _, row, _ in pieces)
    width, height = _SECONDS * _SECOND, num_rows * _ROW_MV * _MILLIVOLT
    parts = [chart.words(0, 14, title, kind="name")] if title else []
    parts += _paper(width, height, top)
    for name, row, begin in pieces:
        trace = signal_mv[list(leads).index(name)]
        last = _SECONDS if _is_full_row(leads, row) else begin + _PANEL_SECONDS
        middle = top + (row + 0.5) * _ROW_MV * _MILLIVOLT
        parts.append(_trace(trace, sample_rate_hz, begin, last, middle))
        at = middle - 0.36 * _ROW_MV * _MILLIVOLT
        parts.append(chart.words(begin * _SECOND + 4, at, name))
    text = (
        f"{title or 'Recording'}: {counted(len(leads), 'lead')} on ECG paper, {', '.join(leads)}."
    )
    return chart.svg(width, top + height, text, "".join(parts))


def _is_full_row(leads: Sequence[str], row: int) -> bool:
    return set(leads) != set(STANDARD_12) or row == len(_ROWS_OF_FOUR)


def _pieces(leads: Sequence[str]):
    """Yields the lead, the row and the first second of each trace."""
    if set(leads) != set(STANDARD_12):
        yield from ((name, row, 0.0) for row, name in enumerate(leads))
        return
    for row, names in enumerate(_ROWS_OF_FOUR):
        yield from ((name, row, k * _PANEL_SECONDS) for k, name in enumerate(names))
    yield _RHYTHM_LEAD, len(_ROWS_OF_FOUR), 0.0


def _paper(width: float, height: float, top: float) -> list[str]:
    """Returns small squares of 1 mm and large ones of 5 mm."""
    paths = []
    for kind, step in (("fine", _PIXELS_PER_MM), ("coarse", 5 * _PIXELS_PER_MM)):
        across = "".join(
            f"M0 {chart.number(top + y)}h{chart.number(width)}"
            for y in np.arange(0, height + 0.1, step)
        )
        upright = "".join(
            f"M{chart.number(x)} {chart.number(top)}v{chart.number(height)}"
            for x in np.arange(0, width + 0.1, step)
        )
        paths.append(f'<path class="{kind}" fill="none" d="{across}{upright}"/>')
    return paths


def _trace(trace: np.ndarray, rate_hz: float, begin: float, last: float, middle: float) -> str:
    """Returns a part of a trace around its middle, without what would cover distant rows."""
    start, end = round(begin * rate_hz), round(last * rate_hz)
    known = trace[np.isfinite(trace)]
    shown = trace[start:end] - (np.median(known) if len(known) else 0.0)
    shown = np.clip(shown, -_ROW_MV, _ROW_MV)
    x = (begin + np.arange(len(shown)) / rate_hz) * _SECOND
    return chart.trace(x, middle - shown * _MILLIVOLT, "line trace", _TOLERANCE_PIXELS)
