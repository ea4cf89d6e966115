"""The table and the page of a grid of runs, and the main scores that they show."""

import csv
import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from clef_jax import files
from clef_jax.errors import counted
from clef_jax.evaluation import effects, overview
from clef_jax.evaluation.score import CONSTANT, UNDEFINED
from clef_jax.page import chart, dots, template

TABLE, PAGE = "ablation.csv", "ablation.html"
SEEDS = "seeds"
"""Column with the number of seeds, between the settings and the scores."""
_TITLE = "Ablation"

Row = Mapping[str, str]


class MainScore(NamedTuple):
    """Main score of a run on a task."""

    name: str
    value: float
    """Value; NaN where it is not defined."""
    constant: bool = False
    """Whether the predictions are constant."""


def main_scores(results: pathlib.Path, model: str) -> dict[str, MainScore]:
    """Returns the main score of a model for each task, from the file results.json."""
    scores: dict[str, MainScore] = {}
    for line in json.loads(results.read_text(encoding="utf-8"))["results"]:
        if line["label_share"] == 1 and line["model"] == model and line["task"] not in scores:
            # The main score of a task is its first line, also if it is not defined.
            value = np.nan if line["value"] is None else line["value"]
            constant = line.get("constant_predictions", False)
            scores[line["task"]] = MainScore(line["score"], value, constant)
    return scores


def cell(scores: Sequence[MainScore | tuple[str, float]]) -> str:
    """Returns mean and standard deviation of a score over seeds, and where there is none."""
    if not scores:
        return ""
    scores = [s if isinstance(s, MainScore) else MainScore(s[0], s[1]) for s in scores]
    defined = [score.value for score in scores if np.isfinite(score.value)]
    if not defined:
        return UNDEFINED
    spread = f" ± {np.std(defined, ddof=1):.3f}" if len(defined) > 1 else ""
    text = f"{np.mean(defined):.3f}{spread}"
    for words, count in (
        (UNDEFINED, len(scores) - len(defined)),
        (CONSTANT, sum(score.constant for score in scores)),
    ):
        if count:
            text += f", {words} with {count} of {counted(len(scores), 'seed')}"
    return text


def write(
    folder: pathlib.Path,
    rows: Sequence[Row],
    settings: Mapping[str, str],
    failed: Mapping[str, str],
    trials: Sequence[effects.Trial] = (),
) -> None:
    """Writes ablation.csv and ablation.html.

    Args:
        folder: folder to write to.
        rows: a row for each grid point, with at least one.
        settings: settings of the grid.
        failed: reason for each run that failed, by the run's name.
        trials: scores of each run, from which effects are estimated.
    """
    with (
        files.atomic_file(folder / TABLE) as half,
        half.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        for cells in (rows[0], *(row.values() for row in rows)):
            writer.writerow([files.spreadsheet_text(text) for text in cells])
    files.write_text(folder / PAGE, render(rows, settings, failed, trials))


def render(
    rows: Sequence[Row],
    settings: Mapping[str, str],
    failed: Mapping[str, str],
    trials: Sequence[effects.Trial] = (),
) -> str:
    """Returns the page as HTML; the arguments are those of `write`."""
    cells = [[html.escape(value) for value in row.values()] for row in rows]
    reasons = [[html.escape(name), html.escape(reason)] for name, reason in failed.items()]
    caption = "Main score of each task; mean and standard deviation over seeds."
    return template.document(
        _TITLE,
        _effects(trials),
        template.section("Results", caption, template.table(list(rows[0]), cells, name="ablation")),
        template.section(
            "Failed runs",
            "They are missing in the table above. The same command tries them again.",
            template.table(("run", "reason"), reasons),
            anchor="failed",
        )
        if failed
        else "",
        template.folded("Settings", template.description_list(settings), level=2),
    )


def _effects(trials: Sequence[effects.Trial]) -> str:
    """Returns the section with a chart for each setting and task; empty without any effect."""
    found = list(effects.estimate(trials))
    by_chart: dict[tuple[str, str], list[effects.Effect]] = {}
    for effect in found:
        by_chart.setdefault((effect.flag, effect.task), []).append(effect)
    if not by_chart:
        return ""
    caption = (
        "Difference of the main score from the first value of a setting, between runs that differ "
        "in this setting alone: mean and 95 % confidence interval over seeds. A vertical line is "
        "no difference; an interval that includes it does not show an effect."
    )
    if any(len(effect.by_seed) == 1 for effect in found):
        caption += " With one seed there is no interval, and an effect may be due to chance."
    charts = [_effect_chart(of_chart) for of_chart in by_chart.values()]
    return template.section("Effects", caption, chart.grid(*charts), anchor="effects")


def _effect_chart(found: Sequence[effects.Effect]) -> str:
    """Returns the chart of one setting and one task."""
    first = found[0]
    rows = [dots.Dot(effect.value, effect.mean, *effect.interval) for effect in found]
    score = overview.name_of(first.score)
    words = f"{first.flag}: compared with {first.reference}"
    small = f"{first.task}, difference of {score}, {counted(len(first.by_seed), 'seed')}"
    text = f"{small}, {words}:"
    drawn = dots.plot(rows, text, guide=0.0, signed=True)
    return (
        f'<figcaption><b>{html.escape(words)}</b><span class="quiet">{html.escape(small)}</span>'
        f"</figcaption>{drawn}"
    )


def check_outputs(folder: pathlib.Path, *, overwrite: bool) -> None:
    """Raises UserError if the folder holds a table or a page of another origin.

    Args:
        folder: folder to write to.
        overwrite: whether they may be replaced nevertheless.
    """
    files.check_output_folder(folder)
    files.check_output(folder / PAGE, _is_page, overwrite=overwrite)
    files.check_output(folder / TABLE, _is_table, overwrite=overwrite)


def _is_page(path: pathlib.Path) -> bool:
    return template.is_document(path, _TITLE)


def _is_table(path: pathlib.Path) -> bool:
    """Returns whether a CSV file has the columns of an ablation: settings, seeds, TASK: SCORE."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, ValueError, csv.Error):
        return False
    if SEEDS not in header:
        return False
    return all(": " in name for name in header[header.index(SEEDS) + 1 :])
