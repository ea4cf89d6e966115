"""Charts of an evaluation's page.

Each model has the same marker and line on the whole page. Shapes: N recordings, K outputs.
"""

import html
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from clef_jax.evaluation.prediction import Predictions
from clef_jax.evaluation.result import Result
from clef_jax.evaluation.score import CONSTANT, UNDEFINED, Scored
from clef_jax.page import chart, dots
from clef_jax.page.panel import Panel
from clef_jax.statistics import calibration, classification, regression

MAX_CLASSES = 6
"""Largest number of classes with charts of their own, the most frequent."""
_MAX_POINTS = 400
_MAX_BINS = 24
_UNIT = (0.0, 1.0)
_HALVES = (0.0, 0.5, 1.0)

Order = Mapping[str, int]
"""Number of the marker and line of each model's row on the page."""


def frequent_classes(predictions: Predictions) -> list[int]:
    """Returns the most frequent outputs with both outcomes, at most `MAX_CLASSES`, in order."""
    both = np.flatnonzero(classification.has_both_classes(predictions.target))
    by_frequency = both[np.argsort(-predictions.target[:, both].sum(axis=0), kind="stable")]
    return sorted(by_frequency[:MAX_CLASSES].tolist())


def dot(name: str, scored: Scored, index: int | None = None, sign: str = "") -> dots.Dot:
    """Returns a score as a row of a dot plot."""
    low, high = scored.interval.low, scored.interval.high
    words = CONSTANT if scored.constant else ""
    words = words if np.isfinite(scored.value) else UNDEFINED
    return dots.Dot(name, scored.value, low, high, words, sign, index)


def by_class(results: Sequence[Result], order: Order) -> list[str]:
    """Returns a chart for each frequent class: the AUROC of all models with its interval."""
    predictions, charts = results[0].predictions, []
    for k in frequent_classes(predictions):
        name, rows = predictions.outputs[k], []
        for result in results:
            scored = next((s for s in result.scores if s.name == f"auroc {name}"), None)
            if scored is None:
                continue
            rows.append(dot(result.row, scored, order.get(result.row)))
        count = int(predictions.target[:, k].sum())
        caption = f"<figcaption><b>{html.escape(name)}</b>, {count:,} positive</figcaption>"
        charts.append(caption + dots.plot(rows, f"AUROC of {name}:", guide=0.5))
    return charts


def curves(results: Sequence[Result], order: Order) -> list[str]:
    """Returns ROC, precision-recall and reliability charts with a line for each model.

    A binary task has three charts, other classifications three for each frequent class. The list is
    empty if no class has both outcomes.
    """
    predictions = results[0].predictions
    charts = []
    for k in frequent_classes(predictions):
        plotted = [result for result in results if _is_plottable(result.predictions, k)]
        if plotted:
            name = predictions.outputs[k] if len(predictions.outputs) > 1 else ""
            charts += _curves_of_class(plotted, k, name, order)
    return charts


def _is_plottable(predictions: Predictions, k: int) -> bool:
    """Returns whether an output has both outcomes and no unknown prediction."""
    if k >= len(predictions.outputs) or np.isnan(predictions.predicted[:, k]).any():
        return False
    return bool(classification.has_both_classes(predictions.target)[k])


def _curves_of_class(results: Sequence[Result], k: int, name: str, order: Order) -> Iterator[str]:
    suffix = f": {name}" if name else ""
    roc = _unit_panel(f"ROC{suffix}", "1 - specificity", "sensitivity")
    both = _unit_panel(f"PR{suffix}", "recall", "precision")
    reliability = _unit_panel(f"Reliability{suffix}", "predicted probability", "observed fraction")
    for panel in (roc, reliability):
        panel.line(_UNIT, _UNIT, kind="guide")
    said = []
    for result in results:
        target, predicted = result.predictions.target[:, k], result.predictions.predicted[:, k]
        index = order.get(result.row, 0)
        false_positive_rate, sensitivity, precision = _operating_points(target, predicted)
        roc.line(false_positive_rate, sensitivity, index, tolerance_pixels=0.8)
        both.line(sensitivity, precision, index, tolerance_pixels=0.8)
        bins = calibration.reliability(target, predicted)
        reliability.line(bins.mean_score, bins.observed, index, points=len(results) < 4)
        area = float(classification.auroc(target, predicted))
        constant = f", {CONSTANT}" if result.predictions.constant[k] else ""
        said.append((result.row, area, bins.expected_error, constant))
    areas = "; ".join(f"{row} {area:.3g}{constant}" for row, area, _, constant in said)
    errors = "; ".join(f"{row} {error:.3g}" for row, _, error, _ in said)
    yield roc.draw(f"ROC curves{suffix}. Area under the curve: {areas}.")
    yield both.draw(f"Precision-recall curves{suffix} of {', '.join(row for row, *_ in said)}.")
    yield reliability.draw(f"Reliability{suffix}. Expected calibration error: {errors}.")


def _unit_panel(title: str, x_name: str, y_name: str) -> Panel:
    """Returns an empty panel whose axes run from 0 to 1."""
    return Panel(
        *(_UNIT, _UNIT),
        title=title,
        x_name=x_name,
        y_name=y_name,
        height=240,
        x_ticks=_HALVES,
        y_ticks=_HALVES,
    )


def _operating_points(target: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns 1 - specificity, sensitivity and precision at thresholds in descending order."""
    order = np.argsort(-predicted, kind="stable")
    true_positives = np.cumsum(target[order])
    selected = np.arange(1, len(order) + 1)
    last = np.append(np.diff(predicted[order]) != 0, True)
    true_positives, selected = true_positives[last], selected[last]
    points = np.linspace(0, len(selected) - 1, _MAX_POINTS).astype(int)
    points = np.unique(points)
    true_positives, selected = true_positives[points], selected[points]
    positive, negative = target.sum(), (1 - target).sum()
    return (
        np.append(0, (selected - true_positives) / negative),
        np.append(0, true_positives / positive),
        np.append(true_positives[0] / selected[0], true_positives / selected),
    )


def agreement(result: Result, title: str = "") -> tuple[str, str]:
    """Returns two charts of a regression: predicted and measured values, and Bland-Altman.

    They show densities, so that no single patient can be seen.
    """
    predictions, unit = result.predictions, result.task.unit
    target, predicted = predictions.target[:, 0], predictions.predicted[:, 0]
    title = title or result.row
    if np.isnan(predicted).any():
        empty = Panel(_UNIT, _UNIT, title=title, x_ticks=(), y_ticks=())
        empty.message(UNDEFINED)
        return empty.draw(f"{title}: {UNDEFINED}."), empty.draw(f"{title}: {UNDEFINED}.")
    bins = int(np.clip(np.sqrt(len(target)) / 2, 6, _MAX_BINS))
    low = min(target.min(), predicted.min())
    ends = chart.domain([low, target.max(), predicted.max()])
    left = Panel(
        ends,
        ends,
        title=title,
        x_name=f"measured, {unit}".rstrip(", "),
        y_name=f"predicted, {unit}".rstrip(", "),
    )
    density, edges_x, edges_y = np.histogram2d(target, predicted, bins=bins)
    left.squares(edges_x, edges_y, density)
    left.line(ends, ends, kind="limit")
    mean, difference = (target + predicted) / 2, predicted - target
    limits = regression.bland_altman(target, predicted)
    right = Panel(
        chart.domain(mean),
        chart.domain([*difference.tolist(), *map(float, limits)]),
        title=title,
        x_name=f"mean of predicted and measured, {unit}".rstrip(", "),
        y_name="predicted minus measured",
    )
    density, edges_x, edges_y = np.histogram2d(mean, difference, bins=bins)
    right.squares(edges_x, edges_y, density)
    for line, kind in zip(limits, ("limit", "limit dotted", "limit dotted"), strict=True):
        right.across(float(line), kind)
    bias, lower, upper = (chart.label(float(value)) for value in limits)
    return (
        left.draw(f"Predicted and measured values of {title}, as a density around the diagonal."),
        right.draw(
            f"Bland-Altman plot of {title}: bias {bias}, limits of agreement {lower} to {upper}"
            f" {unit}".rstrip()
            + "."
        ),
    )


def label_efficiency(
    by_model: Mapping[str, Mapping[float, Sequence[float]]], task: str, score: str, order: Order
) -> str:
    """Plots mean and range of a score, over samples of the patients, by the fraction of labels.

    Args:
        by_model: Values of the score by label fraction, by model.
        task: Name of the task.
        score: Name of the score.
    """
    defined = {
        model: {f: np.array(v)[np.isfinite(v)] for f, v in sorted(by_fraction.items())}
        for model, by_fraction in by_model.items()
    }
    fractions = [100 * f for by_f in defined.values() for f, v in by_f.items() if len(v)]
    values = [value for by_f in defined.values() for v in by_f.values() for value in v]
    if not fractions:
        empty = Panel(_UNIT, _UNIT, title=task, x_ticks=(), y_ticks=())
        empty.message(UNDEFINED)
        return empty.draw(f"{task}: {score} is {UNDEFINED} for all fractions of labels.")
    low, high = min(fractions), max(fractions)
    low, high = (low / 2, high * 2) if low == high else (low / 1.1, high * 1.1)
    panel = Panel(
        *((low, high), chart.domain(values)),
        title=task,
        x_name="labelled training patients, %",
        y_name=score,
        log_x=True,
    )
    said = []
    for model, by_fraction in defined.items():
        kept = {f: v for f, v in by_fraction.items() if len(v)}
        if not kept:
            continue
        percent, index = [100 * f for f in kept], order.get(model, 0)
        panel.band(
            percent, [v.min() for v in kept.values()], [v.max() for v in kept.values()], index
        )
        means = [float(v.mean()) for v in kept.values()]
        panel.line(percent, means, index, points=True)
        ends = zip((percent[0], percent[-1]), (means[0], means[-1]), strict=True)
        said.append(f"{model} " + ", ".join(f"{m:.3g} with {p:.3g} %" for p, m in ends))
    return panel.draw(f"{task}: {score} by the fraction of labels. {'; '.join(said)}.")
