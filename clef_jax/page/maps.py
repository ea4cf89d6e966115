"""Draws maps of embeddings: dots on two principal components, coloured by a number or a class.

Shapes: N recordings, D features.
"""

import html

import numpy as np

from clef_jax.page import chart, colour
from clef_jax.page.panel import Panel

_HEIGHT = 250


def main_axes(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two first principal components of [N, D], [N, 2], and their fractions of the
    variance, [2]."""
    left, singular, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    fraction = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-12)
    return left[:, :2] * singular[:2], fraction


def by_number(
    position: np.ndarray, variance: np.ndarray, values: np.ndarray, name: str, text: str
) -> str:
    """Returns a map that is coloured by the fifths of a quantity, with a legend below.

    Args:
        position: positions on the first two components, [N, 2].
        variance: fractions of the variance of these components, [2].
        values: quantity of each recording, [N]; NaN where unknown.
        name: name and unit of the quantity.
        text: text for readers who cannot see the map.
    """
    panel = _panel(position, variance, f"Embeddings by {name}")
    known = np.isfinite(values)
    _dots(panel, position[~known], "unknown", 3)
    fifths = np.linspace(0, 1, colour.NUM_STEPS + 1)
    edges = np.quantile(values[known], fifths) if known.any() else []
    items = []
    for step in range(len(edges) - 1):
        inside = known & (values >= edges[step])
        if step < len(edges) - 2:
            inside &= values < edges[step + 1]
        if inside.any():
            _dots(panel, position[inside], f"scale-{step}", 4)
            words = f"{chart.label(edges[step])} to {chart.label(edges[step + 1])}"
            items.append((f"scale-{step}", words))
    if (~known).any():
        items.append(("unknown", "unknown"))
    return panel.draw(text) + _legend(items)


def by_class(
    position: np.ndarray, variance: np.ndarray, names: np.ndarray, name: str, text: str
) -> str:
    """Returns a map that is coloured by the most frequent of the names [N], with a legend below.

    The other arguments are as in `by_number`.
    """
    panel = _panel(position, variance, f"Embeddings by {name}")
    classes, counts = np.unique(names, return_counts=True)
    frequent = classes[np.argsort(-counts, kind="stable")][: colour.NUM_SERIES]
    others = ~np.isin(names, frequent)
    _dots(panel, position[others], "unknown", 3)
    items = []
    for number, class_name in enumerate(frequent):
        _dots(panel, position[names == class_name], chart.series(number), 4)
        items.append((chart.series(number), str(class_name) or "none"))
    if others.any():
        items.append(("unknown", "others"))
    return panel.draw(text) + _legend(items)


def _dots(panel: Panel, position: np.ndarray, kind: str, size: float) -> None:
    """Adds dots at positions [N, 2] to a map."""
    panel.dots(position[:, 0], position[:, 1], kind, size)


def _panel(position: np.ndarray, variance: np.ndarray, title: str) -> Panel:
    x, y = (f"component {n}, {v:.0%} of variance" for n, v in enumerate(variance, start=1))
    ends = [chart.domain(position[:, axis]) for axis in (0, 1)]
    return Panel(*ends, title=title, x_name=x, y_name=y, x_ticks=(), y_ticks=(), height=_HEIGHT)


def _legend(items: list[tuple[str, str]]) -> str:
    """Returns the legend of a map, from CSS classes and names."""
    rows = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><path class="dots {kind}" '
        f'stroke-width="8" d="M6 6h0"/></svg>{html.escape(name)}</li>'
        for kind, name in items
    )
    return f'<ul class="legend">{rows}</ul>'
