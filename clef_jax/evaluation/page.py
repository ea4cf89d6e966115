"""The page of an evaluation: one screen that answers, then folded sections.

The sections are tasks, label efficiency, comparisons, groups, geometry, costs and settings.
"""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.errors import counted
from clef_jax.evaluation import geometry, geometry_plot, overview, plot, score, task_section
from clef_jax.evaluation.best import Standing
from clef_jax.evaluation.geometry import Geometry
from clef_jax.evaluation.result import ALPHA, Comparison, Result
from clef_jax.page import chart, template
from clef_jax.statistics.bootstrap import Interval

_TITLE = "Encoder evaluation"


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is the page of an evaluation."""
    return template.is_document(path, _TITLE)


def render(
    about: Mapping[str, Any],
    results: Sequence[Result],
    compared: Sequence[Comparison],
    geometries: Sequence[Geometry],
    problems: Sequence[str],
    standings: Mapping[str, Standing],
) -> str:
    """Returns the page as HTML with its charts.

    Args:
        about: Command, settings, fingerprints of the models, and costs.
        results: Results of all tasks.
        compared: Comparisons of models.
        geometries: Geometry of each encoder's embeddings; may be empty.
        problems: Messages about what could not be evaluated.
        standings: Best models of each task.
    """
    full = [result for result in results if result.label_fraction == 1]
    by_task: dict[str, list[Result]] = {}
    for result in full:
        by_task.setdefault(result.task.name, []).append(result)
    order = {row: n for n, row in enumerate(dict.fromkeys(result.row for result in results))}
    sections = {
        "tasks": ("Tasks", _tasks(by_task, standings, order)),
        "label_shares": ("Label efficiency", _efficiency(results, order)),
        "comparisons": ("Model comparison", _comparisons(compared)),
        "groups": ("Patient subgroups", _groups(by_task)),
        "geometry": ("Geometry of the embeddings", _geometry(geometries)),
        "costs": ("Costs", _costs(about.get("costs", {}))),
        "settings": ("Settings and fingerprints", _origins(about, full)),
    }
    sections = {anchor: item for anchor, item in sections.items() if item[1]}
    return template.document(
        _TITLE,
        *(f'<p class="warning"><b>{html.escape(problem)}</b></p>' for problem in problems),
        overview.render(by_task, standings),
        template.links({anchor: title for anchor, (title, _) in sections.items()}),
        *(content for _, content in sections.values()),
    )


def _tasks(
    by_task: Mapping[str, Sequence[Result]],
    standings: Mapping[str, Standing],
    order: plot.Order,
) -> str:
    """Returns a folded section for each task, below the legend that they share."""
    if not by_task:
        return ""
    legend = f'<div class="shared">{chart.legend(list(order))}</div>'
    tasks = [
        task_section.render(of_task, standings[name], order) for name, of_task in by_task.items()
    ]
    caption = "Markers and lines of the models are the same in all charts."
    return template.section("Tasks", caption, legend, *tasks, anchor="tasks")


def _efficiency(results: Sequence[Result], order: plot.Order) -> str:
    """Returns the section on fractions of the labels; empty if only all labels were used."""
    names = dict.fromkeys(result.task.name for result in results if result.label_fraction < 1)
    if not names:
        return ""
    charts = []
    for name in names:
        of_task = [result for result in results if result.task.name == name]
        by_model: dict[str, dict[float, list[float]]] = {}
        for result in of_task:
            by_fraction = by_model.setdefault(result.row, {})
            by_fraction.setdefault(result.label_fraction, []).append(result.primary().value)
        primary = score.primary(of_task[0].task).name
        charts.append(plot.label_efficiency(by_model, name, primary, order))
    caption = (
        "Main score with the labels of fewer training patients: mean over samples of the "
        "patients, with a band from the lowest to the highest score."
    )
    return template.folded(
        "Label efficiency",
        chart.legend(list(order)),
        chart.grid(*charts),
        caption=caption,
        level=2,
        anchor="label_shares",
    )


def _interval(interval: Interval, form: str) -> str:
    """Returns an interval as HTML, with its numbers in a format; empty if it is not defined."""
    if not np.isfinite(interval.low):
        return ""
    return template.interval(f"{interval.low:{form}}", f"{interval.high:{form}}")


def _comparisons(compared: Sequence[Comparison]) -> str:
    if not compared:
        return ""
    rows = [
        [
            html.escape(item.task),
            html.escape(item.second),
            f"{item.difference.value:+.3g}" + _interval(item.difference.interval, "+.3g"),
            f"{item.difference.p_value:.3g}",
            f"{item.p_holm:.3g}",
            "yes" if item.is_significant else "no",
        ]
        for item in compared
    ]
    header = (
        *("task", "compared with", "difference", "p"),
        *(f"p (Holm, {counted(len(rows), 'test')})", f"below {ALPHA}"),
    )
    caption = (
        f"Difference of the main score: {compared[0].first} minus each other model, on the same "
        "recordings, with its 95 % confidence interval. The p-values come from swapping the "
        "predictions of whole patients at random."
    )
    num_significant = sum(item.is_significant for item in compared)
    return template.folded(
        "Model comparison",
        template.table(header, rows, name="comparisons"),
        caption=caption,
        gist=f"{num_significant} of {counted(len(rows), 'difference')} significant",
        level=2,
        anchor="comparisons",
    )


def _groups(by_task: Mapping[str, Sequence[Result]]) -> str:
    """Returns the section on groups of patients, for the first model; empty without groups."""
    names = list(score.GROUPS)
    rows = []
    for task, of_task in by_task.items():
        primary = score.primary(of_task[0].task).name
        cell_of = {scored.name: overview.cell(scored) for scored in of_task[0].scores}
        cells = [cell_of.get(f"{primary}, {group}", "") for group in names]
        differences = [
            cell_of.get(f"{primary}, {a} minus {b}", "") for a, b in (names[:2], names[2:])
        ]
        if any(cells):
            row = [*cells[:2], differences[0], *cells[2:], differences[1]]
            rows.append([html.escape(task), html.escape(primary), *row])
    if not rows:
        return ""
    header = ("task", "score", *names[:2], "difference", *names[2:], "difference")
    model = next(iter(by_task.values()))[0].row
    caption = (
        f"Main score of {model} in each group with at least {score.MIN_GROUP_PATIENTS} "
        "patients, over the classes that occur in both groups; differences are the first group "
        "minus the second."
    )
    table = template.table(header, rows, name="groups")
    return template.folded("Patient subgroups", table, caption=caption, level=2, anchor="groups")


def _geometry(geometries: Sequence[Geometry]) -> str:
    if not geometries:
        return ""
    sample = geometries[0].sample
    rows = [[html.escape(cell) for cell in row] for row in geometry.side_by_side(geometries)]
    caption = (
        f"{counted(len(sample.patient), 'recording')} of {sample.dataset}, lead {sample.lead}; "
        f"{int(sample.in_training_split.sum())} of them are in its training split. Correlations of "
        "distance are Spearman's over pairs of patients, with p-values from permutations. Matched "
        "pairs have the same sex and age band, so that sex and age do not explain the correlation."
    )
    maps = [
        template.folded(measured.model, chart.grid(*geometry_plot.charts(measured)), level=3)
        for measured in geometries
    ]
    header = ("measure", *(measured.model for measured in geometries), "remark")
    table = template.table(header, rows, name="geometry")
    return template.folded(
        "Geometry of the embeddings", table, *maps, caption=caption, level=2, anchor="geometry"
    )


def _costs(costs: Mapping[str, Mapping[str, float]]) -> str:
    names = {
        "parameters": "parameters",
        "flops": "FLOPs per window",
        "windows_per_second": "windows embedded per second",
        "seconds_asked": "seconds for probes and intervals",
    }
    if not costs:
        return ""
    rows = [
        [html.escape(model), *(f"{of_model[n]:,.4g}" if n in of_model else "" for n in names)]
        for model, of_model in costs.items()
    ]
    caption = "Speeds were measured on this machine when the features were computed."
    table = template.table(("model", *names.values()), rows, name="costs")
    return template.folded("Costs", table, caption=caption, level=2, anchor="costs")


def _origins(about: Mapping[str, Any], full: Sequence[Result]) -> str:
    inputs = about.get("inputs", {})
    fingerprints = [
        [
            html.escape(name),
            html.escape(inputs.get(name, "")),
            f"<code>{html.escape(fingerprint[:64])}</code>",
        ]
        for name, fingerprint in about["models"].items()
    ]
    columns = ("encoder", "input of a published encoder", "fingerprint of weights and input")
    settings = [[html.escape(k), html.escape(str(v))] for k, v in about["settings"].items()]
    data = sorted({result.task.dataset for result in full})
    return template.folded(
        "Settings and fingerprints",
        f"<p>Command: <code>{html.escape(about['command'])}</code></p>",
        template.notes(about.get("remarks", ())),
        f"<p>Data sets: {html.escape(', '.join(data)) or 'none'}.</p>",
        template.table(columns, fingerprints),
        template.table(("setting", "value"), settings),
        level=2,
        anchor="settings",
    )
