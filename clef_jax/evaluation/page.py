"""The page of an evaluation: tables with intervals, comparisons, groups, curves and costs."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.evaluation import geometry, plot, published, result as result_lib, score
from clef_jax.evaluation.geometry import Geometry
from clef_jax.evaluation.result import ALPHA, Comparison, Result
from clef_jax.evaluation.score import Scored
from clef_jax.page import template


def render(
    about: Mapping[str, Any],
    results: Sequence[Result],
    compared: Sequence[Comparison],
    spaces: Sequence[Geometry],
    problems: Sequence[str],
) -> str:
    """Returns the page as HTML that contains its pictures.

    Args:
        about: command, settings, fingerprints of the models, and costs.
        problems: sentences that say what could not be evaluated.
    """
    whole = [one for one in results if one.label_fraction == 1]
    by_task: dict[str, list[Result]] = {}
    for one in whole:
        by_task.setdefault(one.task.name, []).append(one)
    return template.document(
        "Encoder evaluation",
        f"<p>Command: <code>{html.escape(about['command'])}</code></p>",
        *(f"<p><b>{html.escape(problem)}</b></p>" for problem in problems),
        _overview(by_task, compared),
        _efficiency(results),
        _comparisons(compared),
        _groups(by_task),
        _space(spaces),
        *(_task(found) for found in by_task.values()),
        _costs(about.get("costs", {})),
        _origins(about, whole),
    )


def _overview(by_task: Mapping[str, Sequence[Result]], compared: Sequence[Comparison]) -> str:
    rows = list(dict.fromkeys(one.row for found in by_task.values() for one in found))
    header = ["model"] + [
        f"{name}: {score.primary(found[0].task).name}, {found[0].task.unit}".rstrip(", ")
        for name, found in by_task.items()
    ]
    cells = {(task, one.row): one for task, found in by_task.items() for one in found}
    best = {task: _best(found) for task, found in by_task.items()}
    marks = {(one.task, one.second): "*" for one in compared if one.is_significant}

    def cell(task: str, row: str) -> str:
        if (task, row) not in cells:
            return ""
        shown = _cell(cells[task, row].primary()) + marks.get((task, row), "")
        return f'<span class="best">{shown}</span>' if best[task] == row else shown

    lines = [[html.escape(row), *(cell(task, row) for task in by_task)] for row in rows]
    first = f" * differs from {rows[0]} (p < {ALPHA} after Holm's correction)." if marks else ""
    caption = (
        "Each task's main score with its 95 % interval over patients; bold is the best of a "
        f"column, which may be due to chance.{first}"
    )
    return template.section("Results", caption, template.table(header, lines))


def _best(found: Sequence[Result]) -> str:
    sign = 1 if score.primary(found[0].task).higher_is_better else -1
    known = [one for one in found if np.isfinite(one.primary().value)]
    return max(known, key=lambda one: sign * one.primary().value).row if known else ""


def _cell(one: Scored) -> str:
    if not np.isfinite(one.value):
        return "not defined"
    interval = ""
    if np.isfinite(one.interval.low):
        interval = (
            f' <span class="interval">{one.interval.low:.3g} to {one.interval.high:.3g}</span>'
        )
    return f"{one.value:.3g}{interval}"


def _efficiency(results: Sequence[Result]) -> str:
    partial = list(dict.fromkeys(one.task.name for one in results if one.label_fraction < 1))
    pictures = []
    for name in partial:
        by_model: dict[str, dict[float, list[float]]] = {}
        for one in (one for one in results if one.task.name == name):
            found = by_model.setdefault(one.row, {}).setdefault(one.label_fraction, [])
            found.append(one.primary().value)
        task = next(one.task for one in results if one.task.name == name)
        drawn = plot.label_efficiency(by_model, score.primary(task).name)
        pictures.append(f"<h3>{html.escape(name)}</h3>")
        pictures.append(template.picture(drawn, f"{name}: score over fraction of labels"))
    if not partial:
        return ""
    caption = "Scores with labels of fewer training patients; bands span the samples of patients."
    return template.section("Label efficiency", caption, *pictures, anchor="label_shares")


def _comparisons(compared: Sequence[Comparison]) -> str:
    if not compared:
        return ""
    rows = [
        [
            html.escape(one.task),
            html.escape(one.second),
            f"{one.difference.value:+.3g} "
            f'<span class="interval">{one.difference.interval.low:+.3g} to '
            f"{one.difference.interval.high:+.3g}</span>",
            f"{one.difference.p_value:.3g}",
            f"{one.p_holm:.3g}",
        ]
        for one in compared
    ]
    header = ("task", "compared with", "difference", "p", f"p (Holm, {len(rows)} tests)")
    caption = (
        f"{compared[0].first} minus each other model on the same recordings; p-values from "
        "swapping the predictions of whole patients at random."
    )
    return template.section(
        "Model comparison",
        caption,
        template.folded(f"{len(rows)} comparisons", template.table(header, rows)),
        anchor="comparisons",
    )


def _groups(by_task: Mapping[str, Sequence[Result]]) -> str:
    names = list(score.GROUPS)
    rows = []
    for task, found in by_task.items():
        main = score.primary(found[0].task).name
        told = {s.name: _cell(s) for s in found[0].scores}
        cells = [told.get(f"{main}, {group}", "") for group in names]
        gaps = [told.get(f"{main}, {a} minus {b}", "") for a, b in (names[:2], names[2:])]
        if any(cells):
            rows.append(
                [html.escape(task), html.escape(main), *cells[:2], gaps[0], *cells[2:], gaps[1]]
            )
    if not rows:
        return ""
    header = ("task", "score", *names[:2], "gap", *names[2:], "gap")
    who = next(iter(by_task.values()))[0].row
    caption = (
        f"{who}. The main score of each group with at least {score.MIN_GROUP_PATIENTS} patients, "
        "over the classes that both groups have."
    )
    return template.section(
        "Patient subgroups", caption, template.table(header, rows), anchor="groups"
    )


def _space(spaces: Sequence[Geometry]) -> str:
    if not spaces:
        return ""
    sample = spaces[0].sample
    rows = [[html.escape(cell) for cell in row] for row in geometry.side_by_side(spaces)]
    caption = (
        f"{len(sample.patient)} recordings of {sample.dataset}, lead {sample.lead}; "
        f"{int(sample.in_training_split.sum())} of them are of its training split. Correlations of "
        "distance are Spearman's over pairs of patients, with p-values by permutation; matched "
        "pairs are of one sex and age band, so that these explain nothing."
    )
    pictures = [
        part
        for one in spaces
        for part in (
            f"<h3>{html.escape(one.model)}</h3>",
            template.picture(plot.geometry(one), f"maps of the embeddings of {one.model}"),
        )
    ]
    header = ("measure", *(one.model for one in spaces), "")
    table = template.table(header, rows)
    return template.section(
        "Geometry of the embeddings", caption, table, *pictures, anchor="geometry"
    )


def _task(found: Sequence[Result]) -> str:
    task, predictions = found[0].task, found[0].predictions
    how = "cross-validated by patient" if predictions.cross_validated else "tested once"
    caption = (
        f"{task.description} {len(predictions.target):,} recordings of "
        f"{len(np.unique(predictions.patient)):,} patients, {how}; "
        f"{predictions.num_left_out:,} excluded without a target or a usable lead {task.lead}."
    )
    names = list(dict.fromkeys(s.name for one in found for s in one.scores if s.in_table))
    rows = [
        [html.escape(one.row), html.escape(one.predictions.layer)]
        + [next((_cell(s) for s in one.scores if s.name == name), "") for name in names]
        for one in found
    ]
    drawn = plot.curves(found)
    notes = [*task.caveats, *result_lib.notes(found)]
    return template.section(
        task.name,
        caption,
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        template.table(("model", "layer", *names), rows),
        template.picture(drawn, f"curves of {task.name}") if drawn else "",
        template.folded("Every score", _every_score(found)),
        _published(found[0]),
    )


def _every_score(found: Sequence[Result]) -> str:
    names = list(dict.fromkeys(s.name for one in found for s in one.scores))
    told = {(one.row, s.name): _cell(s) for one in found for s in one.scores}
    rows = [
        [html.escape(name), *(told.get((one.row, name), "") for one in found)] for name in names
    ]
    return template.table(("score", *(one.row for one in found)), rows)


def _published(one: Result) -> str:
    rows = [
        [
            html.escape(line.model),
            f"{line.score} {line.value:.3g}",
            html.escape(line.differs(one.task.lead, one.method) or "same protocol"),
            html.escape(line.source),
        ]
        for line in published.for_task(one.task.name)
    ]
    if not rows:
        return ""
    header = ("model", "score", "how it differs", "source")
    return template.folded("Published results", template.table(header, rows))


def _costs(costs: Mapping[str, Mapping[str, float]]) -> str:
    names = {
        "parameters": "parameters",
        "flops": "FLOPs of a window",
        "windows_per_second": "windows embedded per second",
        "seconds_asked": "seconds of probes and intervals",
    }
    rows = [
        [html.escape(model), *(f"{found[n]:,.4g}" if n in found else "" for n in names)]
        for model, found in costs.items()
    ]
    caption = "Speeds are of this machine, on the day when the features were computed."
    return template.section(
        "Costs", caption, template.table(("model", *names.values()), rows), anchor="costs"
    )


def _origins(about: Mapping[str, Any], whole: Sequence[Result]) -> str:
    fingerprints = [
        [html.escape(name), f"<code>{html.escape(mark[:64])}</code>"]
        for name, mark in about["models"].items()
    ]
    settings = [[html.escape(k), html.escape(str(v))] for k, v in about["settings"].items()]
    data = sorted({one.task.dataset for one in whole})
    return template.folded(
        "Settings and fingerprints",
        f"<p>Data sets: {html.escape(', '.join(data))}.</p>",
        template.table(("encoder", "fingerprint of weights and preprocessing"), fingerprints),
        template.table(("setting", "value"), settings),
    )
