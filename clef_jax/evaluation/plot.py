"""The figures of the evaluation's page.

Shapes: N recordings, K outputs, D features.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from clef_jax.evaluation.geometry import NUM_QUINTILES, Geometry
from clef_jax.evaluation.prediction import Predictions
from clef_jax.evaluation.result import Result
from clef_jax.page.figure import ACCENT, INK, SOFT, main_axes
from clef_jax.statistics import calibration, classification, regression

_SERIES = (INK, ACCENT, "#2a9d8f", "#e9a23b", "#6a4c93", "#457b9d", "#b56576", SOFT)
_MAX_CLASSES = 8
"""More lines would be indistinguishable; the most frequent classes are drawn."""
_MAX_CURVE_POINTS = 400


def curves(results: Sequence[Result]) -> Figure | None:
    """Draws ROC, precision-recall and reliability curves, or the agreement of a regression.

    A binary task has a curve for each model; other tasks have one for each class of the first
    model.
    """
    if results[0].task.kind == "regression":
        return _agreement(results[0].predictions, results[0].task.unit)
    lines = _lines(results)
    if not lines:
        return None
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    roc, precision, reliable = figure.subplots(1, 3)
    for number, (name, (target, predicted)) in enumerate(lines.items()):
        colour = _SERIES[number % len(_SERIES)]
        false, true, right = _operating(target, predicted)
        roc.plot(false, true, color=colour, lw=1.2, label=name)
        precision.plot(true, right, color=colour, lw=1.2)
        bins = calibration.reliability(target, predicted)
        reliable.plot(bins.mean_score, bins.observed, "o-", color=colour, lw=1, ms=3)
    for panel in (roc, reliable):
        panel.plot([0, 1], [0, 1], color=SOFT, lw=0.8, ls=":")
    _name(roc, "ROC", "1 - specificity", "sensitivity")
    _name(precision, "Precision and recall", "recall", "precision")
    _name(reliable, "Reliability", "predicted probability", "observed share")
    roc.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def _name(panel, title: str, x: str, y: str) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(x, fontsize=8)
    panel.set_ylabel(y, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _lines(results: Sequence[Result]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if results[0].task.kind == "binary":
        found = {
            r.row: (r.predictions.target[:, 0], r.predictions.predicted[:, 0]) for r in results
        }
        return {
            n: pair
            for n, pair in found.items()
            if classification.has_both_classes(pair[0][:, None])[0]
        }
    predictions = results[0].predictions
    both = np.flatnonzero(classification.has_both_classes(predictions.target))
    often = both[np.argsort(-predictions.target[:, both].sum(axis=0), kind="stable")][:_MAX_CLASSES]
    return {
        predictions.outputs[k]: (predictions.target[:, k], predictions.predicted[:, k])
        for k in sorted(often)
    }


def _operating(target: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns 1 - specificity, sensitivity and precision at thresholds from high to low."""
    order = np.argsort(-predicted, kind="stable")
    hit = np.cumsum(target[order])
    called = np.arange(1, len(order) + 1)
    last = np.append(np.diff(predicted[order]) != 0, True)
    hit, called = hit[last], called[last]
    thin = np.unique(np.linspace(0, len(hit) - 1, _MAX_CURVE_POINTS).astype(int))
    hit, called = hit[thin], called[thin]
    positive, negative = target.sum(), (1 - target).sum()
    return (
        np.append(0, (called - hit) / negative),
        np.append(0, hit / positive),
        np.append(hit[0] / called[0], hit / called),
    )


def _agreement(predictions: Predictions, unit: str) -> Figure:
    """Draws predicted and measured numbers as densities, which show no single patient."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    target, predicted = predictions.target[:, 0], predictions.predicted[:, 0]
    mean, difference = (target + predicted) / 2, predicted - target
    bins = int(np.clip(np.sqrt(len(target)) / 2, 6, 40))
    left.hist2d(target, predicted, bins=bins, cmap="Greys")
    low, high = min(target.min(), predicted.min()), max(target.max(), predicted.max())
    left.plot([low, high], [low, high], color=ACCENT, lw=0.8)
    right.hist2d(mean, difference, bins=bins, cmap="Greys")
    for line, style in zip(regression.bland_altman(target, predicted), "-::", strict=True):
        right.axhline(line, color=ACCENT, lw=0.9, ls=style)
    _name(left, "Predicted and measured", f"measured, {unit}", f"predicted, {unit}")
    _name(right, "Bland-Altman: bias and limits", f"mean, {unit}", f"difference, {unit}")
    return figure


def label_efficiency(by_model: Mapping[str, Mapping[float, Sequence[float]]], score: str) -> Figure:
    """Draws the score over the fraction of labels: mean and range over samples of the patients."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    panel = figure.subplots()
    for number, (model, found) in enumerate(by_model.items()):
        defined = {s: np.array(v)[np.isfinite(v)] for s, v in found.items()}
        share = np.array(sorted(s for s, v in defined.items() if len(v)))
        if not len(share):
            continue  # a logarithmic axis refuses to be empty
        values = [defined[s] for s in share]
        colour = _SERIES[number % len(_SERIES)]
        panel.plot(100 * share, [v.mean() for v in values], "o-", color=colour, ms=3, label=model)
        low, high = [v.min() for v in values], [v.max() for v in values]
        panel.fill_between(100 * share, low, high, color=colour, alpha=0.12, lw=0)
    _name(panel, "", "labelled training patients, %", score)
    if panel.lines:
        panel.set_xscale("log")
        panel.legend(fontsize=7, frameon=False)
    return figure


def geometry(measured: Geometry) -> Figure:
    """Draws maps coloured by risk, age, sex and label, and similarity by the difference in risk."""
    sample = measured.sample
    place, share = main_axes(sample.embedding)
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    numbers = {"risk, %": 100 * sample.risk, "age, years": sample.age_years}
    for panel, (name, values) in zip(panels[:2], numbers.items(), strict=True):
        known = np.isfinite(values)
        panel.scatter(*place[~known].T, s=5, color=SOFT, alpha=0.5, lw=0)
        dots = panel.scatter(*place[known].T, c=values[known], s=8, cmap="viridis", lw=0)
        figure.colorbar(dots, ax=panel)
        _map(panel, f"coloured by {name}", share)
    sex = np.where(sample.male == 1, "men", np.where(sample.male == 0, "women", "unknown"))
    _classes(panels[2], place, sex)
    _map(panels[2], "coloured by sex", share)
    _classes(panels[3], place, sample.label)
    _map(panels[3], f"coloured by {sample.label_name or 'label: none is stored'}", share)
    _quintiles(panels[4], measured.similarity_by_quintiles)
    _stability(panels[5], measured)
    return figure


def _map(panel, title: str, share: np.ndarray) -> None:
    _name(panel, title, f"first axis, {share[0]:.0%}", f"second axis, {share[1]:.0%}")
    panel.set_xticks([])
    panel.set_yticks([])


def _classes(panel, place: np.ndarray, names: np.ndarray) -> None:
    known, counts = np.unique(names, return_counts=True)
    often = known[np.argsort(-counts, kind="stable")][: len(_SERIES) - 1]
    panel.scatter(*place[~np.isin(names, often)].T, s=5, color=SOFT, alpha=0.5, lw=0)
    for number, name in enumerate(often):
        colour = _SERIES[number]
        panel.scatter(*place[names == name].T, s=8, color=colour, lw=0, label=name or "none")
    panel.legend(fontsize=7, frameon=False, markerscale=2)


def _quintiles(panel, quantiles: np.ndarray) -> None:
    _name(panel, "Similarity of two patients", "quintiles of risk apart", "cosine similarity")
    if not np.isfinite(quantiles).any():
        panel.text(0.5, 0.5, "risk is not known", ha="center", transform=panel.transAxes)
        return
    steps = np.arange(NUM_QUINTILES)
    panel.vlines(steps, quantiles[:, 0], quantiles[:, 4], color=SOFT, lw=1)
    panel.vlines(steps, quantiles[:, 1], quantiles[:, 3], color=INK, lw=5)
    panel.plot(steps, quantiles[:, 2], "o", color="white", ms=3)
    panel.set_xticks(steps)


def _stability(panel, measured: Geometry) -> None:
    values = {item.name: item.value for item in measured.measures}
    shown = {n: v for n, v in values.items() if n.startswith("similarity")}
    _name(panel, "Stability", "mean cosine similarity", "")
    names = [n.removeprefix("similarity ").removeprefix("to ") for n in shown]
    panel.barh(np.arange(len(names)), list(shown.values()), color=INK, height=0.6)
    panel.set_yticks(np.arange(len(names)), names)
    panel.invert_yaxis()
