"""The report page of a fitted head. It names no recording and no patient.

Shapes: N recordings, K outputs.
"""

import dataclasses
import html
import pathlib
from collections.abc import Sequence

import numpy as np

from clef_jax.answers import intended_use
from clef_jax.errors import counted
from clef_jax.evaluation import overview, plot, score
from clef_jax.evaluation.result import Result
from clef_jax.evaluation.score import Scored
from clef_jax.fitting import matching
from clef_jax.fitting.dataset import Dataset
from clef_jax.fitting.fitted_head import Checked, FittedHead
from clef_jax.page import chart, dots, template
from clef_jax.page.panel import Panel
from clef_jax.statistics import calibration

_TITLE = "Fitted head"
_MOST_OUTPUTS = 20
"""Most outputs whose figures are on the page."""
_ENOUGH = 100
"""Number of patients of the rarer class from which the sentence on trust does not advise more."""


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is the page of a fitted head."""
    return template.is_document(path, _TITLE)


def render(name: str, fingerprint: str, dataset: Dataset, fitted: FittedHead) -> str:
    """Returns the page as HTML with embedded figures.

    Args:
        name: name of the encoder.
        fingerprint: fingerprint of the encoder.
    """
    return template.document(
        _TITLE,
        f"<p><b>{html.escape(trust(dataset, fitted))}</b> {intended_use.INTENDED_USE}</p>",
        *(f"<p>{html.escape(note.public or note.detail)}</p>" for note in dataset.notes),
        *(f"<p>{html.escape(sentence)}</p>" for sentence in intended_use.limits(fitted.head)),
        _used(dataset),
        _scores(fitted),
        _curves(dataset, fitted),
        _calibration(dataset, fitted.checked),
        _decisions(dataset, fitted),
        _intervals(dataset, fitted),
        _groups(fitted.results[0]),
        template.folded(
            "Model",
            template.description_list(
                {
                    "encoder": name,
                    "fingerprint": fingerprint,
                    "layer": fitted.head.layer,
                    "features": ", ".join(fitted.head.features),
                    "method": fitted.results[0].method,
                    "division": (fitted.head.fitted or {}).get("split", ""),
                }
            ),
        ),
    )


def trust(dataset: Dataset, fitted: FittedHead) -> str:
    """Returns one plain sentence on how far the answers can be trusted."""
    primary = fitted.results[0].primary()
    recordings = counted(len(dataset.target), "recording")
    by_patient = f"by patient on {recordings} of {counted(dataset.num_patients, 'patient')}"
    if not dataset.knows_patients:
        by_patient = f"on {recordings}, each taken for another patient's"
    rarer, advice = "", ""
    if dataset.kind != "regression":
        counts = [
            (len(np.unique(dataset.patient[dataset.target[:, k] == 1])), output)
            for k, output in enumerate(dataset.outputs)
        ]
        fewest, output = min(counts)
        rarer = f", {fewest:,} of them with {output}"
        advice = "" if fewest >= _ENOUGH else "; more patients would make this firmer"
    interval = ""
    if np.isfinite(primary.interval.low):
        low, high = primary.interval.low, primary.interval.high
        interval = f" (95 % interval {low:.3g} to {high:.3g})"
    value = f"{primary.value:.3g}" if np.isfinite(primary.value) else "not defined"
    name = overview.name_of(primary.name)
    return (
        f"Cross-validated {by_patient}{rarer}, the {name} is {value}{interval}; expect this only "
        f"for patients and recordings like these{advice}."
    )


def _used(dataset: Dataset) -> str:
    rows = [["used", f"{len(dataset.target):,}"]]
    counts = matching.counts(dataset.rows)
    rows += [[html.escape(problem), f"{count:,}"] for problem, count in counts.items()]
    per_output = []
    if dataset.kind != "regression":
        for k, output in enumerate(dataset.outputs):
            positive = dataset.target[:, k] == 1
            patients = len(np.unique(dataset.patient[positive]))
            cells = (f"{int(positive.sum()):,}", f"{patients:,}", f"{positive.mean():.3g}")
            per_output.append([html.escape(output), *cells])
    caption = (
        "Rows of the labels, and recordings without a row, by whether they were used or why not. "
        "The table beside the model folder names each of them."
    )
    return template.section(
        "Labels",
        caption,
        template.table(("rows and recordings", "number"), rows),
        template.table(("output", "recordings", "patients", "fraction"), per_output)
        if per_output
        else "",
        anchor="labels",
    )


def _scores(fitted: FittedHead) -> str:
    results = fitted.results
    names = list(dict.fromkeys(s.name for r in results for s in r.scores if s.in_table))
    by_row = [{s.name: s for s in result.scores} for result in results]
    rows = [
        [
            html.escape(result.row),
            *(_cell(of_row[name]) if name in of_row else "" for name in names),
        ]
        for result, of_row in zip(results, by_row, strict=True)
    ]
    caption = (
        "Cross-validated scores with 95 % confidence intervals over patients: the head first, then "
        "what the same labels give with other features, on the same folds."
    )
    every = [[html.escape(overview.name_of(s.name)), _cell(s)] for s in results[0].scores]
    primary = overview.name_of(results[0].primary().name)
    compared = [plot.dot(result.row, result.primary()) for result in results]
    drawn = dots.plot(compared, f"{primary} by features:", width=420, name_width=170)
    return template.section(
        "Scores",
        caption,
        chart.grid(f"<figcaption><b>{html.escape(primary)}</b></figcaption>{drawn}", kind="three"),
        template.table(("features", *map(overview.name_of, names)), rows, name="scores"),
        template.folded(
            "All scores of the head", template.table(("score", "value"), every, name="all_scores")
        ),
        anchor="scores",
    )


def _cell(scored: Scored) -> str:
    if not np.isfinite(scored.value):
        return score.UNDEFINED
    interval = ""
    if np.isfinite(scored.interval.low):
        low, high = scored.interval.low, scored.interval.high
        interval = template.interval(chart.value(low), chart.value(high))
    return f"{chart.value(scored.value)}{interval}"


def _curves(dataset: Dataset, fitted: FittedHead) -> str:
    """Returns ROC, precision-recall and reliability curves, or the agreement of each number."""
    if dataset.kind == "regression":
        charts = [
            drawn
            for k, output in enumerate(dataset.outputs[:_MOST_OUTPUTS])
            for drawn in plot.agreement(_of_output(fitted.results[0], k), output)
        ]
        words = "Cross-validated values, as densities that show no single patient."
        return template.section("Agreement", words, chart.grid(*charts), anchor="curves")
    order = {result.row: number for number, result in enumerate(fitted.results)}
    charts = plot.curves(list(fitted.results), order)
    caption = "Cross-validated, before calibration."
    parts = (chart.legend(list(order)), chart.grid(*charts, kind="three")) if charts else ()
    return template.section("Curves", caption, *parts, anchor="curves")


def _of_output(result: Result, output: int) -> Result:
    """Returns a result with one of its outputs."""
    old, column = result.predictions, slice(output, output + 1)
    predictions = dataclasses.replace(
        old,
        outputs=old.outputs[column],
        target=old.target[:, column],
        predicted=old.predicted[:, column],
        decided=old.decided[:, column],
    )
    return dataclasses.replace(result, predictions=predictions)


def _calibration(dataset: Dataset, checked: Checked | None) -> str:
    if checked is None:
        return ""
    rows = [
        [
            html.escape(output),
            f"{checked.before.expected_error[k]:.3g}",
            f"{checked.after.expected_error[k]:.3g}",
            f"{checked.before.brier[k]:.3g}",
            f"{checked.after.brier[k]:.3g}",
        ]
        for k, output in enumerate(dataset.outputs)
    ]
    header = ("output", "calibration error before", "after", "Brier score before", "after")
    panel = Panel(
        *((0.0, 1.0), (0.0, 1.0)),
        title="Reliability after calibration",
        x_name="calibrated probability",
        y_name="observed fraction",
        height=260,
    )
    panel.line((0.0, 1.0), (0.0, 1.0), kind="guide")
    shown = dataset.outputs[:_MOST_OUTPUTS]
    for k in range(len(shown)):
        bins = calibration.reliability(dataset.target[:, k], checked.probability[:, k])
        panel.line(bins.mean_score, bins.observed, k, points=True)
    errors = (f"{name} {checked.after.expected_error[k]:.3g}" for k, name in enumerate(shown))
    drawn = panel.draw(f"Reliability after calibration. Calibration error: {', '.join(errors)}.")
    caption = (
        "Each recording's calibration was fitted to other patients. The error is the mean distance "
        "between predicted probability and observed fraction; it is not zero by chance alone."
    )
    return template.section(
        "Calibration",
        caption,
        template.table(header, rows),
        chart.grid(drawn, kind="three"),
        chart.legend(shown) if len(shown) > 1 else "",
        anchor="calibration",
    )


def _decisions(dataset: Dataset, fitted: FittedHead) -> str:
    checked = fitted.checked
    if checked is None:
        return ""
    if dataset.kind == "multiclass":
        return _confusion(dataset.outputs, dataset.target, checked.decided)
    assert fitted.head.threshold is not None
    rows = []
    for k, output in enumerate(dataset.outputs):
        positive, decided = dataset.target[:, k] == 1, checked.decided[:, k] == 1
        counts = [
            int(((positive == label) & (decided == decision)).sum())
            for label, decision in ((True, True), (True, False), (False, True), (False, False))
        ]
        rows.append(
            [
                html.escape(output),
                f"{fitted.head.threshold[k]:.3g}",
                f"{checked.achieved.sensitivity[k]:.3g}",
                f"{checked.achieved.specificity[k]:.3g}",
                *(f"{count:,}" for count in counts),
            ]
        )
    header = (
        *("output", "threshold", "sensitivity", "specificity"),
        *("true positives", "false negatives", "false positives", "true negatives"),
    )
    caption = (
        "Decisions by thresholds on calibrated probabilities; each recording's was chosen on other "
        "patients. The stated threshold is that of the final head."
    )
    return template.section("Decisions", caption, template.table(header, rows), anchor="decisions")


def _confusion(outputs: Sequence[str], target: np.ndarray, decided: np.ndarray) -> str:
    counts = target.T @ decided
    rows = [
        [html.escape(output), *(f"{int(count):,}" for count in counts[k])]
        for k, output in enumerate(outputs)
    ]
    caption = "Rows are the labels, columns the most probable classes."
    table = template.table(("label", *outputs), rows)
    return template.section("Confusion", caption, table, anchor="decisions")


def _intervals(dataset: Dataset, fitted: FittedHead) -> str:
    head = fitted.head
    if dataset.kind != "regression":
        return ""
    if head.half_width is None or fitted.covered is None:
        words = "There are too few patients for intervals with the wanted coverage."
        return template.section("Intervals", words, anchor="intervals")
    rows = [
        [html.escape(output), f"{head.half_width[k]:.4g}", f"{fitted.covered[k]:.3g}"]
        for k, output in enumerate(dataset.outputs)
    ]
    caption = (
        f"An interval is the predicted value plus or minus the half-width; it holds the true value "
        f"of {head.coverage:.0%} of new patients like these. The achieved coverage is of intervals "
        "that were made from other patients."
    )
    table = template.table(("output", "half-width", "achieved coverage"), rows)
    return template.section("Intervals", caption, table, anchor="intervals")


def _groups(result: Result) -> str:
    """Returns the section on groups by sex and age; empty where neither is known."""
    name = score.primary(result.task).name
    rows = [
        [html.escape(s.name.removeprefix(f"{name}, ")), _cell(s)]
        for s in result.scores
        if any(s.name.startswith(f"{name}, {group}") for group in score.GROUPS)
    ]
    if not rows:
        return ""
    shown = overview.name_of(name)
    caption = (
        f"The {shown} by sex and age, in groups of at least {score.MIN_GROUP_PATIENTS} patients."
    )
    return template.section(
        "Patient subgroups", caption, template.table(("group", shown), rows), anchor="groups"
    )
