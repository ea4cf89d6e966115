"""Charts of training pages: scalars over the steps, recordings, and a map of the embeddings.

Shapes: P patients, T time (samples), D embedding.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clef_jax.errors import counted
from clef_jax.page import chart, maps
from clef_jax.page.panel import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARGIN_OF_SIGNAL = 0.06


def as_data_uri(figure: "Figure") -> str:
    """Returns a figure as a PNG in a data URI, which a page can embed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curves(
    runs: Mapping[str, Sequence[Mapping]], names: Sequence[str], *, smooth_lines: int = 1
) -> list[str]:
    """Plots each named scalar over the steps, one chart each; a single value is a point.

    Args:
        runs: log lines of each run, by its name; a line has `step` and some of the scalars.
        names: scalars to plot.
        smooth_lines: number of lines in the running mean; with more than 1, the measured values are
            a pale line.
    """
    return [_curve(runs, name, smooth_lines) for name in names]


def _curve(runs: Mapping[str, Sequence[Mapping]], name: str, smooth_lines: int) -> str:
    kept, title = {}, name.rpartition("/")[2].replace("_", " ")
    for run, lines in runs.items():
        pairs = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        kept[run] = np.array(pairs, float).reshape(-1, 2)
    if not any(len(pairs) for pairs in kept.values()):
        empty = Panel((0, 1), (0, 1), title=title, x_ticks=(), y_ticks=())
        empty.message("not measured")
        return empty.draw(f"{name} was not measured.")
    every = np.concatenate(list(kept.values()))
    last = max(line["step"] for lines in runs.values() for line in lines)
    steps = (0.0, max(float(last), 1.0))
    panel = Panel(steps, chart.domain(every[:, 1]), title=title, x_name="step")
    said = []
    for index, (run, pairs) in enumerate(kept.items()):
        if not len(pairs):
            said.append(f"{run}: not measured")
            continue
        step, value = pairs.T
        shown = value
        if smooth_lines > 1 and len(value) > 1:
            if len(kept) == 1:
                panel.line(step, value, index, kind=f"pale {chart.series(index)}")
            shown = running_mean(value, smooth_lines)
        panel.line(step, shown, index)
        first, last = chart.label(shown[0]), chart.label(shown[-1])
        values = f"{first} at step {step[0]:,.0f}"
        if len(value) > 1:
            values = f"from {values} to {last} at step {step[-1]:,.0f}"
        said.append(f"{run}: {values}" if len(kept) > 1 else values)
    return panel.draw(f"{name}: {'; '.join(said)}.")


def running_mean(value: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean over the last `window` values, fewer at the start."""
    total = np.cumsum(np.concatenate([[0.0], value]))
    end = np.arange(1, len(value) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def before_and_after(
    raw_mv: np.ndarray, views: Mapping[str, np.ndarray], lead: Sequence[str], sample_rate_hz: float
) -> list[str]:
    """Plots the stored signal [P, T] in mV and the named views [P, T], patient by patient."""
    columns = {"stored, mV": raw_mv, **views}
    seconds = np.arange(raw_mv.shape[1]) / sample_rate_hz
    return [
        _signal(seconds, signals[patient], title, lead[patient] if not column else "")
        for patient in range(len(raw_mv))
        for column, (title, signals) in enumerate(columns.items())
    ]


def _signal(seconds: np.ndarray, signal: np.ndarray, title: str, lead: str) -> str:
    """Returns one signal on a grid of seconds and fifths of a second."""
    ends = chart.domain(signal, _MARGIN_OF_SIGNAL)
    name = f"{title}, lead {lead}" if lead else title
    last = float(seconds[-1])
    panel = Panel((0, last), ends, title=name, height=130, x_name="s", y_ticks=(0.0,))
    panel.upright(np.arange(0, last + 1e-9, 0.2), "fine")
    panel.upright(np.arange(0, last + 1e-9, 1.0), "coarse")
    panel.line(seconds, signal, kind="trace")
    low, high = (float(f(signal)) if np.isfinite(signal).any() else 0.0 for f in _EXTREMES)
    return panel.draw(f"{name}: {last:.3g} s of signal from {low:.3g} to {high:.3g}.")


_EXTREMES = (np.nanmin, np.nanmax)


def embedding_map(embedding: np.ndarray, risk: np.ndarray) -> str:
    """Plots the principal components of unit-length embeddings [P, D], coloured by risk [P]."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    position, variance = maps.main_axes(unit)
    num_known = int(np.isfinite(risk).sum())
    patients = counted(len(risk), "patient")
    said = f"Map of the embeddings of {patients}; the risks of {num_known} are known."
    return maps.by_number(position, variance, 100 * risk, "10-year risk, %", said)
