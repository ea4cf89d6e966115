"""Charts of the geometry of embeddings: maps, similarity by risk, and stability.

Shapes: N recordings.
"""

import numpy as np

from clef_jax.errors import counted
from clef_jax.evaluation.geometry import NUM_QUINTILES, Geometry
from clef_jax.page import chart, dots, maps
from clef_jax.page.panel import Panel


def charts(measured: Geometry) -> list[str]:
    """Returns maps of the embeddings by risk, age, sex and label, the similarity of patients by
    the difference of their risk, and the similarity with other leads and noise."""
    sample = measured.sample
    position, variance = maps.main_axes(sample.embedding)
    sex = np.where(sample.male == 1, "men", np.where(sample.male == 0, "women", "unknown"))
    label = sample.label_name or "label (not stored)"
    place = (position, variance)
    said = f"Map of {counted(len(position), 'embedding')} of {measured.model} by"
    return [
        maps.by_number(*place, 100 * sample.risk, "risk, %", f"{said} risk, in fifths."),
        maps.by_number(*place, sample.age_years, "age, years", f"{said} age, in fifths."),
        maps.by_class(*place, sex, "sex", f"{said} sex."),
        maps.by_class(*place, sample.label, label, f"{said} {label}."),
        _quintiles(measured),
        _stability(measured),
    ]


def _quintiles(measured: Geometry) -> str:
    """Returns quantiles of the similarity; see `Geometry.similarity_by_quintiles`."""
    quantiles = measured.similarity_by_quintiles
    known = bool(np.isfinite(quantiles).any())
    panel = Panel(
        *((-0.5, NUM_QUINTILES - 0.5), chart.domain(quantiles.ravel())),
        title="Similarity of two patients",
        x_name="difference of risk quintiles",
        y_name="cosine similarity",
        x_ticks=range(NUM_QUINTILES),
        y_ticks=None if known else (),
        height=250,
    )
    if not known:
        panel.message("risk unknown")
        return panel.draw("Similarity of two patients by their risks: the risks are unknown.")
    for step, (lowest, low, middle, high, highest) in enumerate(quantiles):
        if np.isfinite(middle):
            panel.line([step, step], [lowest, highest], kind="span")
            panel.rectangle((step - 0.12, step + 0.12), (low, high), "bar")
            panel.line([step - 0.2, step + 0.2], [middle, middle], kind="limit")
    said = "; ".join(f"{step}: {q[2]:.3g}" for step, q in enumerate(quantiles) if np.isfinite(q[2]))
    return panel.draw(
        f"Cosine similarity of two patients for {measured.model}, median by the difference of "
        f"their risk quintiles: {said}."
    )


def _stability(measured: Geometry) -> str:
    """Returns the similarity of recordings with themselves on other leads and with noise, and for
    comparison that of two patients."""
    rows = [
        dots.Dot(item.name.removeprefix("similarity "), item.value)
        for item in measured.measures
        if item.name.startswith("similarity")
    ]
    caption = '<figcaption class="name">Mean cosine similarity of embeddings</figcaption>'
    return caption + dots.plot(rows, f"Similarity of embeddings of {measured.model}:")
