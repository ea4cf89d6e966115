"""Repeats a row of the table with its stored settings, and compares scores, settings and data."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import rich.console
import rich.table

from clef_jax.errors import UserError
from clef_jax.speedrunning import (
    panel as panel_lib,
    plan_file,
    pretrain,
    record,
    scored_model,
    supervised,
    table,
    training_data,
)
from clef_jax.speedrunning.panel import Panel
from clef_jax.speedrunning.scored_model import Entry
from clef_jax.speedrunning.settings import Config


def run(config: Config, row: record.Row, console: rich.console.Console) -> None:
    """Repeats a row and prints the comparison.

    Raises:
        UserError: the data or the model is another, or the score is outside the row's interval.
    """
    config = dataclasses.replace(
        config, test_folds=tuple(row["test_folds"]), num_resamples=row["num_resamples"]
    )
    panel = panel_lib.make(config.data_dir, config.test_folds)
    _check_data(panel, row, config)
    repeat = {"trained": _train, "supervised": _supervise, "scored": _score}[row["kind"]]
    entry = repeat(config, row, panel, console)
    console.print(_comparison(row, entry))
    score, new = row["score"], entry.scores.score.value
    low, high = (x if x is not None else score["value"] for x in (score["low"], score["high"]))
    same = entry.facts["fingerprint"] == row["fingerprint"]
    weights = "the same bit for bit" if same else "not the same bit for bit"
    console.print(
        f"Settings and data are those of the row; weights are {weights}, and versions "
        f"{'the same' if record.versions() == row['version'] else 'others'}.",
        soft_wrap=True,
    )
    if not low <= new <= high:
        raise UserError(
            f"Line {config.check} was not repeated: its score is {table.interval(score)}, the new "
            f"one {new:.3f}. Compare versions and device, which the row states.",
            problem="not_repeated",
        )
    console.print(f"Line {config.check} was repeated: {new:.3f} is within {table.interval(score)}.")


def _check_data(panel: Panel, row: record.Row, config: Config) -> None:
    """Raises UserError unless tasks, test patients and data are those of the row."""
    if panel.digest == row["panel"]["digest"]:
        return
    old, new = row["panel"]["data"], panel.fingerprints
    absent = sorted(set(old) - set(new))
    if absent:
        raise UserError(
            f"Line {config.check} cannot be repeated with {config.data_dir}: it lacks "
            f"{', '.join(absent)}. Prepare them there.",
            problem="missing_data",
        )
    changed = sorted(name for name in new if old.get(name) != new[name])
    what = f"the data of {', '.join(changed)}" if changed else "the test patients"
    raise UserError(
        f"Line {config.check} cannot be repeated with {config.data_dir}: {what} changed. Prepare "
        "the same files with the version that the row states.",
        problem="changed_data",
    )


def _train(config: Config, row: record.Row, panel: Panel, console: rich.console.Console) -> Entry:
    trained = pretrain.restored(row["settings"], config)
    changed = sorted(_changed(row["settings"], pretrain.to_row(trained)))
    if changed:
        raise UserError(
            f"This version trains with other settings than the row: {', '.join(changed)}. Use the "
            "version that the row states.",
            problem="other_version",
        )
    facts = training_data.facts(trained)
    if facts["training_data"] != row["training_data"]:
        raise UserError(
            f"The data to train on is not that of line {config.check}.", problem="changed_data"
        )
    _keep_plan(config, row)
    minutes = pretrain.train(trained, console)
    scores, fingerprint = scored_model.score_path(str(trained.folder), panel, config, console)
    return Entry(row["id"], {**facts, "fingerprint": fingerprint}, scores, minutes)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yields the settings of a row that are not in force now.

    Settings that are newer than the row have their defaults, which are what the row was made with.
    """
    for name, value in old.items():
        if isinstance(value, dict) and isinstance(new.get(name), dict):
            yield from (f"{name}.{inner}" for inner in _changed(value, new[name]))
        elif name not in new or new[name] != value:
            yield name


def _supervise(
    config: Config, row: record.Row, panel: Panel, console: rich.console.Console
) -> Entry:
    _keep_plan(config, row)
    return supervised.score_networks(
        supervised.Settings(**row["settings"]), row["id"], config, panel, console
    )


def _score(config: Config, row: record.Row, panel: Panel, console: rich.console.Console) -> Entry:
    settings = row["settings"]
    if settings["model"] is None and not config.model:
        raise UserError(
            f"Line {config.check} scored the model {row['name']}, whose path is not in the table; "
            "set --model to it.",
            problem="needs_model",
        )
    config = dataclasses.replace(
        config,
        model=settings["model"] or config.model,
        size=settings["size"] or config.size,
        seed=settings["seed"],
    )
    entry = scored_model.run(config, panel, console)
    if entry.facts["fingerprint"] != row["fingerprint"]:
        raise UserError(
            f"--model={config.model} is not the model of line {config.check}: its fingerprint "
            "differs.",
            problem="other_model",
        )
    return entry


def _keep_plan(config: Config, row: record.Row) -> None:
    """Lets a check of the same row resume in its folder, and no other run use it.

    Raises:
        UserError: the folder holds another run.
    """
    plan = plan_file.read(config)
    if not plan:
        plan_file.write(config, row["settings"], {"checks": row["id"]})
    elif plan["measured"] != {"checks": row["id"]}:
        raise UserError(
            f"{config.folder} holds another run; give --check a folder of its own.",
            problem="changed_run",
        )


def _comparison(row: Mapping[str, Any], entry: Entry) -> rich.table.Table:
    """Returns a table of the row's scores and the new ones."""
    shown = rich.table.Table("task", "row", "now")
    for name, task in row["tasks"].items():
        now = entry.scores.tasks.get(name, {}).get("value", math.nan)
        shown.add_row(name, f"{task['value']:.3f}", f"{now:.3f}")
    value = entry.scores.score.value
    shown.add_row("score", table.interval(row["score"]), f"{value:.3f}")
    return shown
