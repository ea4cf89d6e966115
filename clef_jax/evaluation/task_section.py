"""The folded section of one task on an evaluation's page."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax.errors import counted
from clef_jax.evaluation import overview, plot, published, result as result_lib, score
from clef_jax.evaluation.best import Standing
from clef_jax.evaluation.result import Result
from clef_jax.page import chart, template


def render(of_task: Sequence[Result], standing: Standing, order: plot.Order) -> str:
    """Returns the section: caveats, scores of all models, charts, and published results.

    Args:
        of_task: Results of the task with all labels.
        standing: Best models of the task.
        order: Number of the marker and line of each model's row.
    """
    task, predictions = of_task[0].task, of_task[0].predictions
    tested = "cross-validated by patient" if predictions.cross_validated else "in the test set"
    caption = (
        f"{task.description} {counted(len(predictions.target), 'recording')} of "
        f"{counted(len(np.unique(predictions.patient)), 'patient')}, {tested}; "
        f"{predictions.num_excluded:,} excluded without a target or a usable lead {task.lead}."
    )
    names = list(dict.fromkeys(s.name for result in of_task for s in result.scores if s.in_table))
    rows = [
        [_name(result, standing), html.escape(result.predictions.layer)]
        + [next((overview.cell(s) for s in result.scores if s.name == n), "") for n in names]
        for result in of_task
    ]
    notes = [note.removeprefix(f"{task.name}: ") for note in result_lib.notes(of_task)]
    table = template.table(("model", "layer", *names), rows, name=f"{task.name}_scores")
    return template.folded(
        task.name,
        template.notes((*task.caveats, *notes)),
        table,
        *_charts(of_task, order),
        template.folded("All scores", _all_scores(of_task), level=4),
        _published(of_task),
        caption=caption.strip(),
        gist=_gist(of_task, standing),
        level=3,
        anchor=f"task-{task.name}",
    )


def _name(result: Result, standing: Standing) -> str:
    mark = overview.sign(result.row, standing)
    return html.escape(result.row) + overview.shown_sign(mark)


def _gist(of_task: Sequence[Result], standing: Standing) -> str:
    """Returns the best score in a few words."""
    best = next((result for result in of_task if result.row == standing.best), None)
    if best is None:
        return f"{overview.name_of(score.primary(of_task[0].task).name)}: {score.UNDEFINED}"
    value = f"{chart.value(best.primary().value)} {best.task.unit}".rstrip()
    return f"{overview.name_of(score.primary(best.task).name)} {value}, {best.row}"


def _charts(of_task: Sequence[Result], order: plot.Order) -> list[str]:
    if of_task[0].task.kind == "regression":
        pairs = [drawn for result in of_task for drawn in plot.agreement(result)]
        words = "Densities, which show no single patient. The line is perfect agreement; in the "
        words += "Bland-Altman plots, it is the bias, and dotted lines are limits of agreement."
        grid = chart.grid(*pairs)
        return [template.folded("Agreement", grid, caption=words, level=4)]
    parts = []
    predictions = of_task[0].predictions
    if len(predictions.outputs) > 1 and (charts := plot.by_class(of_task, order)):
        words = "AUROC of each class, or of the most frequent ones, with 95 % intervals."
        parts.append(f'<p class="quiet">{words}</p>{chart.grid(*charts)}')
    if charts := plot.curves(of_task, order):
        parts.append(template.folded("Curves", chart.grid(*charts, kind="three"), level=4))
    return parts


def _all_scores(of_task: Sequence[Result]) -> str:
    names = list(dict.fromkeys(scored.name for result in of_task for scored in result.scores))
    cell_of = {(result.row, s.name): overview.cell(s) for result in of_task for s in result.scores}
    rows = [
        [html.escape(name), *(cell_of.get((result.row, name), "") for result in of_task)]
        for name in names
    ]
    header = ("score", *(result.row for result in of_task))
    return template.table(header, rows, name=f"{of_task[0].task.name}_all_scores")


def _published(of_task: Sequence[Result]) -> str:
    """Returns a table of published results of the task, beside the first model's with the same
    probe, and how their protocols differ."""
    first = of_task[0]
    ours = {result.method: result for result in of_task if result.model == first.model}
    rows = [
        [
            html.escape(line.model),
            html.escape(line.protocol or "not stated"),
            f"{html.escape(line.score)} {line.value:.4g}",
            _same_probe(line, ours),
            html.escape(line.differs(first.task.lead, line.method) or "none"),
            html.escape(line.source),
        ]
        for line in published.for_task(first.task.name)
    ]
    if not rows:
        return ""
    header = (
        *("model", "probe", "score", f"{first.model}, same probe"),
        *("other differences of the protocol", "source"),
    )
    name = f"{first.task.name}_published"
    return template.folded("Published results", template.table(header, rows, name=name), level=4)


def _same_probe(line: published.Published, ours: Mapping[str, Result]) -> str:
    """Returns our score with the probe of a published result, or why there is none."""
    if line.method not in ours:
        return "no such probe" if not line.method else "not evaluated"
    primary = ours[line.method].primary()
    return overview.cell(primary) if primary.name == line.score else "another score"
