"""The first screen of an evaluation's page: which models are best, task by task."""

import html
import re
from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax.errors import counted
from clef_jax.evaluation import plot, published, score
from clef_jax.evaluation.best import Standing, counts
from clef_jax.evaluation.published import Published
from clef_jax.evaluation.result import Result
from clef_jax.evaluation.score import Scored
from clef_jax.page import chart, dots, template
from clef_jax.page.dots import BEST, TIED

_MOST_DIFFERENCES = 2
"""Largest number of differences of protocols that a caption names."""

ByTask = Mapping[str, Sequence[Result]]


def render(by_task: ByTask, standings: Mapping[str, Standing]) -> str:
    """Returns the answer in a sentence, a plot for each task, and a table of the main scores.

    Args:
        by_task: Results with all labels, by task.
        standings: Best models of each task.
    """
    if not by_task:
        return ""
    charts = [_task_chart(of_task, standings[name]) for name, of_task in by_task.items()]
    caption = (
        "Main score of each task with its 95 % confidence interval over patients; the axes differ. "
        f"{BEST} best value, which may be due to chance; {TIED} tied: the interval of its paired "
        "difference from the best includes 0 (95 % for all models of a task together). A dotted "
        "line is chance. ◇ published by others, whose protocols differ as stated."
    )
    table = template.folded(
        "The same as a table", _table(by_task, standings), anchor="main-scores", level=3
    )
    return template.section(
        "Results",
        "",
        f'<p class="answer">{html.escape(answer(by_task, standings))}</p>',
        f'<p class="quiet">{html.escape(caption)}</p>',
        chart.grid(*charts),
        table,
        anchor="results",
    )


def answer(by_task: ByTask, standings: Mapping[str, Standing]) -> str:
    """Returns sentences that say which models are best or tied with the best, and in how many
    tasks."""
    rows = list(dict.fromkeys(result.row for of_task in by_task.values() for result in of_task))
    compared = [name for name, standing in standings.items() if standing.best]
    undefined = len(by_task) - len(compared)
    note = ""
    if undefined:
        verb = "has" if undefined == 1 else "have"
        note = f" {counted(undefined, 'task')} {verb} no model with a defined main score."
    if len(rows) == 1:
        tasks = counted(len(by_task), "task")
        return f"{rows[0]} was evaluated on {tasks} without other models.{note}"
    if not compared:
        return f"No model can be called best.{note}"
    number = counts(standings, rows)
    top = [row for row, count in number.items() if count == max(number.values())]
    alone = sum(s.best in top and not s.tied for s in standings.values())
    names = " and ".join((", ".join(top[:-1]), top[-1])) if len(top) > 1 else top[0]
    verb, each = ("are", " each") if len(top) > 1 else ("is", "")
    only = f"; without a tie in {alone}" if alone and len(top) == 1 else ""
    rest = [f"{row} {count}" for row, count in number.items() if row not in top and count]
    others = f" Others: {', '.join(rest)}." if rest else ""
    never = [row for row, count in number.items() if not count]
    if never:
        others += f" In none: {', '.join(never)}."
    return (
        f"{names} {verb} best or tied with the best in {number[top[0]]} of "
        f"{counted(len(compared), 'task')}{each}{only}.{others}{note}"
    )


def sign(row: str, standing: Standing) -> str:
    """Returns the sign of a row: best, tied with the best, or empty."""
    if row and row == standing.best:
        return BEST
    return TIED if row in standing.tied else ""


_NAMES = {"macro auroc": "mean AUROC of the classes", "mae": "mean absolute error"}
_ABBREVIATIONS = re.compile(r"\b(auroc|auprc|f1|mae|rmse)\b")


def name_of(score_name: str) -> str:
    """Returns the name of a score for readers; files have its short name."""
    upper = _ABBREVIATIONS.sub(lambda found: found[0].upper(), score_name)
    return _NAMES.get(score_name, upper)


def _task_chart(of_task: Sequence[Result], standing: Standing) -> str:
    """Returns the caption and the plot of one task."""
    task = of_task[0].task
    primary = score.primary(task)
    unit = f", {task.unit}" if task.unit else ""
    better = "higher" if primary.higher_is_better else "lower"
    several = len(of_task) > 1
    rows = [
        plot.dot(result.row, result.primary(), sign=sign(result.row, standing) if several else "")
        for result in of_task
    ]
    lines = [line for line in published.for_task(task.name) if line.score == primary.name]
    others = _published(lines, task.lead)
    guide = 0.5 if task.is_classification else None
    text = f"{task.name}, {name_of(primary.name)}{unit}:"
    drawn = dots.plot(rows, text, guide=guide, others=others)
    name = html.escape(task.name)
    notes = [
        f"{name_of(primary.name)}{unit}, {better} is better",
        *_published_note(lines, task.lead),
    ]
    if standing.unpaired:
        notes.append(f"other recordings, so not compared: {', '.join(standing.unpaired)}")
    small = "".join(f'<span class="quiet">{html.escape(note)}</span>' for note in notes)
    return f'<figcaption><a href="#task-{name}"><b>{name}</b></a>{small}</figcaption>{drawn}'


def _published(lines: Sequence[Published], lead: str) -> dots.Others | None:
    if not lines:
        return None
    hints = [
        f"{line.model} {line.value:.4g} ({line.differs(lead, line.method) or 'same lead'}; "
        f"{line.protocol or 'protocol not stated'}; {line.source})"
        for line in lines
    ]
    return dots.Others("◇ published", [line.value for line in lines], hints)


def _published_note(lines: Sequence[Published], lead: str) -> list[str]:
    """Returns a sentence on how the protocols of published results differ; none without any."""
    if not lines:
        return []
    low, high = min(line.value for line in lines), max(line.value for line in lines)
    values = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    differences = list(dict.fromkeys(line.differs(lead, line.method) for line in lines))
    words = " or ".join(d or "the same lead" for d in differences[:_MOST_DIFFERENCES])
    if len(differences) > _MOST_DIFFERENCES:
        words += " and others"
    return [f"◇ {counted(len(lines), 'published result')}, {values}: {words}"]


def _table(by_task: ByTask, standings: Mapping[str, Standing]) -> str:
    """Returns the table of main scores: a row for each task, a column for each model."""
    rows = list(dict.fromkeys(result.row for of_task in by_task.values() for result in of_task))
    lines = []
    for name, of_task in by_task.items():
        task, of_row = of_task[0].task, {result.row: result for result in of_task}
        primary = f"{name_of(score.primary(task).name)}, {task.unit}".rstrip(", ")
        link = f'<a href="#task-{html.escape(name)}">{html.escape(name)}</a>'
        cells = [
            _marked(of_row[row].primary(), sign(row, standings[name])) if row in of_row else ""
            for row in rows
        ]
        lines.append([link, html.escape(primary), *cells])
    return template.table(("task", "score", *rows), lines, name="main_scores")


def _marked(scored: Scored, mark: str) -> str:
    content = cell(scored)
    content = f'<span class="best">{content}</span>' if mark == BEST else content
    return content + shown_sign(mark)


def shown_sign(mark: str) -> str:
    """Returns a sign as HTML, after a cell's content; a table that is saved has none."""
    return f'&nbsp;<span class="sign">{mark}</span>' if mark else ""


def cell(scored: Scored) -> str:
    """Returns a score with its interval as HTML, and words where it is not defined."""
    if not np.isfinite(scored.value):
        return score.UNDEFINED
    constant = f", {score.CONSTANT}" if scored.constant else ""
    low, high = scored.interval.low, scored.interval.high
    ends = template.interval(chart.value(low), chart.value(high)) if np.isfinite(low) else ""
    return f"{chart.value(scored.value)}{ends}{constant}"
