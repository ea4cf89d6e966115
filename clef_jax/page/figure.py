"""The figures of the report page.

Shapes: P patients, T time, D embedding.
"""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1b263b", "#c1121f", "#8d99ae"
_PANELS_IN_A_ROW = 3
_SERIES = (INK, ACCENT, "#2a9d8f", "#e9a23b", "#6a4c93")


def as_data_uri(figure: Figure) -> str:
    """The figure as a PNG that a page can hold in itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curves(lines: Sequence[Mapping], names: Sequence[str], *, smooth_lines: int = 1) -> Figure:
    """One panel for each named scalar over the steps; the pale line is as measured."""
    num_rows = max(1, -(-len(names) // _PANELS_IN_A_ROW))
    figure = Figure(figsize=(4.2 * _PANELS_IN_A_ROW, 2.7 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, _PANELS_IN_A_ROW, squeeze=False).ravel()
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for number, (panel, name) in enumerate(zip(panels, names, strict=False)):
        colour = _SERIES[number % len(_SERIES)]
        kept = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        if not kept:
            panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
            continue
        step, value = np.array(kept, float).T
        panel.plot(step, value, color=colour, alpha=0.3 if smooth_lines > 1 else 1, lw=1.2)
        if smooth_lines > 1:
            panel.plot(step, _running_mean(value, smooth_lines), color=colour, lw=1.6)
    return figure


def _running_mean(value: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last `window` values, fewer at the start."""
    total = np.cumsum(np.concatenate([[0.0], value]))
    end = np.arange(1, len(value) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def before_and_after(
    raw_mv: np.ndarray, views: Mapping[str, np.ndarray], lead: Sequence[str], sample_rate_hz: float
) -> Figure:
    """For each patient a row: the stored signal [P, T] in mV, then the named views [P, T]."""
    num_patients, num_samples = raw_mv.shape
    figure = Figure(figsize=(4.6 * (1 + len(views)), 1.7 * num_patients), layout="constrained")
    panels = figure.subplots(num_patients, 1 + len(views), squeeze=False)
    seconds = np.arange(num_samples) / sample_rate_hz
    columns = {"stored, mV": raw_mv, **views}
    for column, (title, signals) in enumerate(columns.items()):
        for row in range(num_patients):
            panel = panels[row, column]
            _ecg_paper(panel, seconds[-1])
            panel.plot(seconds, signals[row], color=INK, lw=0.6)
            if row == 0:
                panel.set_title(title, fontsize=10)
            if column == 0:
                panel.set_ylabel(f"lead {lead[row]}", fontsize=9)
    return figure


def _ecg_paper(panel, last_second: float) -> None:
    panel.set_xlim(0, last_second)
    panel.set_xticks(np.arange(0, last_second + 1e-9, 1), minor=False)
    panel.set_xticks(np.arange(0, last_second + 1e-9, 0.2), minor=True)
    panel.grid(which="major", color="#f2b5b5", lw=0.6)
    panel.grid(which="minor", axis="x", color="#fae3e3", lw=0.4)
    panel.set_xlabel("s", fontsize=7, loc="right", labelpad=0)
    panel.tick_params(labelsize=7, which="both", length=0)
    for side in panel.spines.values():
        side.set_visible(False)


def main_axes(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places [P, 2] of [P, D] on the two main axes, and the share of the variance of each [2]."""
    left, singular, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    share = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-12)
    return left[:, :2] * singular[:2], share


def embedding_map(embedding: np.ndarray, risk: np.ndarray) -> Figure:
    """Patients [P, D] on the two main axes of their unit-length embeddings, coloured by risk."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    place, share = main_axes(unit)
    known = np.isfinite(risk)
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    panel = figure.subplots()
    panel.scatter(*place[~known].T, s=14, color=SOFT, alpha=0.6, label="risk unknown")
    dots = panel.scatter(
        *place[known].T, c=100 * risk[known], s=18, cmap="viridis", label="risk known"
    )
    figure.colorbar(dots, label="10-year risk, %")
    panel.set_xlabel(f"first axis, {share[0]:.0%} of the variance")
    panel.set_ylabel(f"second axis, {share[1]:.0%}")
    panel.spines[["top", "right"]].set_visible(False)
    if (~known).any():
        panel.legend(fontsize=8)
    return figure
