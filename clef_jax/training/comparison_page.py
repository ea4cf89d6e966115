"""Makes the page that compares training runs: their settings, losses and representation checks."""

import html
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.errors import WrongArgument
from clef_jax.page import chart, figure, template
from clef_jax.training import logs, saved_run, verdict
from clef_jax.training.log_names import health_names, loss_names

_TITLE = "Pre-training runs"
PER_RUN = ("workdir", "data_dir", "seed")
"""Settings that differ between runs without changing what is compared."""


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is a page that compares runs."""
    return template.is_document(path, _TITLE)


def write(workdirs: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Writes the page that compares runs.

    Args:
        workdirs: folders of the runs, at least two.
        out: file to write.

    Raises:
        UserError: a folder holds no run, or is named twice.
    """
    if len(set(workdirs)) < len(workdirs):
        raise WrongArgument("--workdir names a folder twice.", problem="duplicate_run")
    names = _names(workdirs)
    folders = dict(zip(names, workdirs, strict=True))
    runs = {name: saved_run.read_run(workdir) for name, workdir in folders.items()}
    lines = {name: logs.read(workdir) for name, workdir in folders.items()}
    files.make_folder(out.parent)
    files.write_text(out, render(runs, lines))


def _names(workdirs: Sequence[pathlib.Path]) -> list[str]:
    """Returns the shortest endings of the paths that tell the runs apart."""
    for depth in range(1, max(len(path.parts) for path in workdirs) + 1):
        names = ["/".join(path.parts[-depth:]) for path in workdirs]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in workdirs]


def render(runs: Mapping[str, Mapping[str, Any]], lines: Mapping[str, Sequence[dict]]) -> str:
    """Returns the page as HTML.

    Args:
        runs: contents of each run's saved file, by its name.
        lines: log lines of each run.
    """
    objectives = {run["config"].get("objective") for run in runs.values()}
    remarks = []
    if len(objectives) > 1:
        remarks.append("The runs have several objectives, whose losses cannot be compared.")
    every = [line for of_run in lines.values() for line in of_run]
    return template.document(
        _TITLE,
        _summary(runs, lines),
        template.notes(remarks),
        chart.legend(list(runs)),
        template.section(
            "Training loss",
            "Running means of the last ten values.",
            chart.grid(*figure.curves(lines, loss_names(every), smooth_lines=10)),
            anchor="loss",
        ),
        template.section(
            "Representation quality",
            "Measured on validation patients at each check; a single measurement is a point."
            if health_names(every)
            else "No run has measured it; see --health-every-steps.",
            chart.grid(*figure.curves(lines, health_names(every))),
            anchor="health",
        ),
        _settings(runs),
    )


def _summary(runs: Mapping[str, Mapping[str, Any]], lines: Mapping[str, Sequence[dict]]) -> str:
    health = health_names([line for of_run in lines.values() for line in of_run])
    header = ("run", "encoder", "objective", "data", "steps", "loss", "pairs/s", *health)
    rows = []
    for name, run in runs.items():
        config = run["config"]
        cells = [name, config["size"], config["objective"], str(config["dataset"])]
        cells.append(f"{run['position']['next_step']:,}")
        trained = [line for line in lines[name] if "loss" in line]
        losses = [line["loss"] for line in trained if line["loss"] is not None]
        speeds = [s for line in trained if (s := line.get("pairs_per_second")) is not None]
        cells.append(verdict.on_loss(losses) or "not logged")
        cells.append(f"{np.median(speeds):.0f}" if speeds else "")
        for measure in health:
            values = [line[measure] for line in lines[name] if line.get(measure) is not None]
            cells.append(chart.label(values[-1]) if values else "not measured")
        rows.append([html.escape(cell) for cell in cells])
    caption = "The values of the representation checks are the last ones."
    table = template.table(header, rows, name="runs")
    return template.section("Summary", caption, table, anchor="summary")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the settings and, with the name of their part in front, those of the parts."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _settings(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the settings that differ between the runs."""
    configs = [dict(_flat(run["config"])) for run in runs.values()]
    rows = []
    for name in dict.fromkeys(name for config in configs for name in config):
        values = [config.get(name, "no such setting") for config in configs]
        if len(set(values)) > 1:
            rows.append([html.escape(text) for text in (name, *values)])
    differing = {row[0] for row in rows} - set(PER_RUN)
    caption = "Settings that are not named here are equal."
    if not differing:
        caption += f" The runs differ in none but {', '.join(PER_RUN)}."
    table = template.table(("setting", *runs), rows) if rows else ""
    return template.section("Settings that differ", caption, table, anchor="settings")
