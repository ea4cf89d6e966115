"""Page of answers over time: a plot and a table for each lead of a long recording."""

import html
import pathlib
from collections.abc import Sequence

import numpy as np

from clef_jax.answers import intended_use
from clef_jax.embedding.head import Head
from clef_jax.errors import counted
from clef_jax.page import chart, template
from clef_jax.page.panel import Panel
from clef_jax.predicting import timeline as timeline_lib
from clef_jax.predicting.timeline import Interval, Timeline, Timelines

TITLE = "Answers over time"
_MOST_OUTPUTS = 4
"""Most outputs that are plotted."""
_HOUR = 3600.0
_FINE_BINS = 288
"""Number of intervals whose means a plot shows: five minutes of a day."""
_WIDTH, _HEIGHT = 1180.0, 190.0
"""Size of a chart in pixels."""


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is such a page."""
    return template.is_document(path, TITLE)


def render(
    head: Head, timelines: Timelines, thresholds: np.ndarray | None, model: dict[str, str]
) -> str:
    """Returns the page as HTML.

    Args:
        head: head of the model.
        timelines: answers over time.
        thresholds: lowest probability at which each output is positive, [K]; None without any.
        model: facts about the model and the head, by name.
    """
    limits = [intended_use.INTENDED_USE, *intended_use.limits(head)]
    parts = [
        template.section("Intended use and limits", " ".join(limits), anchor="limits"),
        template.description_list(model),
    ]
    parts += [_section(head, timeline, thresholds) for timeline in timelines.kept]
    if timelines.num_omitted:
        caption = (
            f"The table of answers has {counted(timelines.num_omitted, 'more window')} of other "
            "leads or recordings, which this page does not show."
        )
        parts.append(template.section("More recordings", caption, anchor="more"))
    return template.document(TITLE, *parts)


def _section(head: Head, timeline: Timeline, thresholds: np.ndarray | None) -> str:
    shown = _shown(head, timeline)
    score = timeline.score
    num_answers = int(np.isfinite(score).all(axis=1).sum())
    caption = (
        f"{counted(num_answers, 'answer')} to {counted(len(timeline), 'window')} in "
        f"{_clock(timeline.end_seconds)} h."
    )
    if num_answers < len(timeline):
        caption += " The other windows are flat or mostly missing."
    if len(shown) < len(head.names):
        caption += f" Of {len(head.names)} outputs, those with the highest values are shown."
    seconds = timeline_lib.bin_seconds(timeline.end_seconds)
    table = _table(head, timeline_lib.intervals(timeline, seconds), shown)
    title = f"{timeline.recording}, lead {timeline.lead}"
    charts = chart.grid(*plot(head, timeline, thresholds, shown), kind="broad")
    return template.section(title, caption, _legend(thresholds is not None), charts, table)


def _legend(has_threshold: bool) -> str:
    """Returns what the dots and lines of the charts are."""
    items = [
        ('<path class="dots" stroke-width="4" d="M12 6h0"/>', "window"),
        ('<path class="line" d="M0 6h24"/>', "mean over a short time"),
        ('<path class="gap" d="M0 0h24v12h-24z"/>', "no answer"),
    ]
    if has_threshold:
        items.append(('<path class="line limit dotted" d="M0 6h24"/>', "threshold"))
    rows = "".join(
        f'<li><svg width="24" height="12" aria-hidden="true">{drawn}</svg>{name}</li>'
        for drawn, name in items
    )
    return f'<ul class="legend">{rows}</ul>'


def _shown(head: Head, timeline: Timeline) -> list[int]:
    """Returns the numbers of the outputs to show, in the order of the head."""
    if len(head.names) <= _MOST_OUTPUTS:
        return list(range(len(head.names)))
    mean = np.nan_to_num(timeline.score).mean(axis=0)
    return sorted(np.argsort(-mean, kind="stable")[:_MOST_OUTPUTS].tolist())


def _table(head: Head, rows: Sequence[Interval], shown: Sequence[int]) -> str:
    header = ["start of the windows, h", "windows", "with an answer"]
    header += [head.names[k] for k in shown]
    cells = [_cells(head, row, shown) for row in rows]
    return template.table(header, cells, name="answers_over_time")


def _cells(head: Head, row: Interval, shown: Sequence[int]) -> list[str]:
    cells = [
        f"{_clock(row.start_seconds)} to {_clock(row.end_seconds)}",
        f"{row.num_windows:,}",
        f"{row.num_answers:,}",
    ]
    for k in shown:
        if not row.num_answers:
            cells.append("no answer")
            continue
        text = f"{row.mean[k]:.3g}" if head.kind == "regression" else f"{row.mean[k]:.1%}"
        if np.isfinite(row.positive[k]):
            text += f", positive in {row.positive[k]:.0%}"
        cells.append(html.escape(text))
    return cells


def _clock(seconds: float) -> str:
    """Returns a time as hours and minutes such as 23:59, with seconds if it has any: 0:00:30."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}" + (f":{rest:02}" if rest else "")


def plot(
    head: Head, timeline: Timeline, thresholds: np.ndarray | None, shown: Sequence[int]
) -> list[str]:
    """Plots the answers to all windows, and their means over short intervals.

    Args:
        head: head of the model.
        timeline: answers to the windows.
        thresholds: lowest probability at which each output is positive, [K]; None without any.
        shown: numbers of the outputs to plot, one chart each.
    """
    hours, score = timeline.start_seconds / _HOUR, timeline.score
    end = max(timeline.end_seconds / _HOUR, 1e-9)
    missing = ~np.isfinite(score).all(axis=1)
    fine = timeline_lib.bin_seconds(timeline.end_seconds, _FINE_BINS)
    means = timeline_lib.intervals(timeline, fine)
    middle = [(row.start_seconds + row.end_seconds) / 2 / _HOUR for row in means]
    length = np.diff(hours, append=end)
    gaps = _joined(hours[missing], length[missing])
    charts = []
    for k in shown:
        low, high = (0.0, 1.0) if head.kind != "regression" else _range(score[:, k])
        panel = Panel(
            *((0.0, end), (low, high)),
            title=head.names[k],
            x_name="hours from the start of the recording",
            y_name="value" if head.kind == "regression" else "probability",
            width=_WIDTH,
            height=_HEIGHT,
        )
        for start, stop in gaps:
            panel.rectangle((start, stop), (low, high), "gap")
        panel.dots(hours, score[:, k], "", size=3)
        panel.line(middle, [row.mean[k] for row in means], kind="")
        text = f"{head.names[k]} over {_clock(timeline.end_seconds)} h"
        if thresholds is not None:
            panel.across(float(thresholds[k]), "limit dotted")
            text += f"; threshold {thresholds[k]:.3g}"
        known = score[np.isfinite(score[:, k]), k]
        if len(known):
            text += f"; from {known.min():.3g} to {known.max():.3g}, mean {known.mean():.3g}"
        charts.append(panel.draw(f"{text}. The table below has means over time."))
    return charts


def _joined(start: np.ndarray, length: np.ndarray) -> list[tuple[float, float]]:
    """Returns intervals of time, with those that follow each other as one."""
    joined: list[tuple[float, float]] = []
    for begin, size in zip(start.tolist(), length.tolist(), strict=True):
        if joined and begin <= joined[-1][1] + 1e-9:
            joined[-1] = (joined[-1][0], begin + size)
        else:
            joined.append((begin, begin + size))
    return joined


def _range(values: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest finite value; a range around a constant."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
