"""Which options matter: `python -m clef_jax.ablate --grid "clef.temperature=0.05 0.07" ...`.

Trains and evaluates one encoder for each point of a grid and each seed, and puts them in a table.
Each is a process of its own, one per device; the same command goes on where it was stopped.
"""

import concurrent.futures
import csv
import dataclasses
import hashlib
import html
import itertools
import json
import os
import pathlib
import queue
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import rich.console
import rich.table
import tyro

from clef_jax import files
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.page import template


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Trains, evaluates and tabulates a grid of options."""

    grid: tuple[str, ...]
    """One text for each option: FLAG=VALUE VALUE ..., for example "clef.min_distance=0 0.2 0.5",
    "leads=random I", "objective=clef simclr" or "dataset=mimic_iv_ecg". Any flag of
    clef_jax.train will do."""
    data_dir: str
    """Folder that `python -m clef_jax.prepare` wrote to."""
    out: str
    """Folder for runs and the table."""
    train: str = ""
    """Flags of clef_jax.train that all runs share, for example "--size=small --num-steps=1000"."""
    evaluate: str = ""
    """Flags of clef_jax.evaluate that all runs share, for example "--tasks=paper"."""
    design: Literal["product", "one_at_a_time"] = "product"
    """product: every combination; one_at_a_time: the first values, and each other value alone."""
    seeds: tuple[int, ...] = (42,)
    """Each point is trained once with each."""
    processes: int = 1
    """Runs at a time. On GPUs each sees one of them; choose as many as there are."""

    def __post_init__(self):
        if self.processes < 1 or not self.seeds:
            raise UserError("--processes must be at least 1, and --seeds at least one number.")

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.out).expanduser().resolve()


Point = Mapping[str, str]
"""Value of each flag of a grid point."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One grid point that is trained and evaluated with one seed."""

    point: Point
    seed: int
    workdir: pathlib.Path

    @property
    def log(self) -> pathlib.Path:
        return self.workdir / "ablate.log"


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.ablate"))


def run(config: Config) -> None:
    """Runs what is not finished yet, and writes ablation.csv and ablation.html.

    Raises:
        UserError: the grid cannot be read, or a run failed; the others are finished and in the
            table nevertheless.
    """
    console = rich.console.Console(highlight=False)
    points = list(points_of(config))
    runs = [
        Run(point, seed, config.folder / "runs" / f"{name_of(point)}_seed_{seed}")
        for seed in config.seeds
        for point in points
    ]
    console.print(f"{len(points)} points, {len(runs)} runs, {config.processes} at a time.")
    failed = _run_all(config, runs, console)
    scores = {
        run.workdir: scores_of(run) for run in runs if (_evaluation(run) / "results.json").is_file()
    }
    rows = rows_of(points, runs, scores)
    if rows:
        _write(config, rows)
        console.print(_table(rows))
        console.print(f"The table is in {config.folder / 'ablation.html'} and ablation.csv.")
    if failed:
        logs = ", ".join(str(run.log) for run in failed)
        raise UserError(f"{len(failed)} of {len(runs)} runs failed; their logs say why: {logs}.")


def points_of(config: Config) -> Iterator[Point]:
    """Yields the points of the grid, starting with the first value of every option.

    Raises:
        UserError: an option is not written as FLAG=VALUE VALUE, or is a duplicate.
    """
    axes: dict[str, list[str]] = {}
    for text in config.grid:
        flag, _, values = text.partition("=")
        flag = flag.strip().lstrip("-").replace("_", "-")
        if not flag or not values.split():
            raise UserError(
                f"--grid {text!r} must be FLAG=VALUE VALUE, such as 'leads=random I'.",
                problem="unreadable_grid",
            )
        if flag in axes:
            raise UserError(f"--grid names {flag} twice.", problem="duplicate_flag")
        axes[flag] = list(dict.fromkeys(values.split()))
    if config.design == "product":
        yield from (
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        )
        return
    first = {flag: values[0] for flag, values in axes.items()}
    yield first
    for flag, values in axes.items():
        yield from ({**first, flag: value} for value in values[1:])


def name_of(point: Point) -> str:
    """Returns a folder name that is unique to a point and bounded in length."""
    text = ",".join(f"{flag}={value}" for flag, value in point.items())
    plain = re.sub(r"[^\w.=,-]+", "_", text)[:80]
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _run_all(config: Config, runs: Sequence[Run], console: rich.console.Console) -> list[Run]:
    """Returns the runs that failed."""
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for device in range(config.processes):
        free.put(device)
    failed = []

    def run_on_free_device(run: Run) -> bool:
        device = free.get()
        try:
            return run_one(config, run, device)
        finally:
            free.put(device)

    with concurrent.futures.ThreadPoolExecutor(config.processes) as pool:
        pending = {pool.submit(run_on_free_device, run): run for run in runs}
        for number, done in enumerate(concurrent.futures.as_completed(pending), start=1):
            run, ok = pending[done], done.result()
            console.print(
                f"{number}/{len(runs)} {'done' if ok else 'failed'}: {run.workdir.name}",
                soft_wrap=True,
            )
            if not ok:
                failed.append(run)
    return failed


def run_one(config: Config, run: Run, device: int) -> bool:
    """Trains and evaluates one run on one device; returns whether both succeeded."""
    run.workdir.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-m"]
    train = [
        *(*python, "clef_jax.train", f"--data-dir={config.data_dir}"),
        *(f"--workdir={run.workdir}", f"--seed={run.seed}"),
        *(
            *shlex.split(config.train),
            *(f"--{flag}={value}" for flag, value in run.point.items()),
        ),
    ]
    judge = [
        *(*python, "clef_jax.evaluate", "--checkpoint", str(run.workdir), "--baselines=none"),
        *(f"--data-dir={config.data_dir}", f"--out={_evaluation(run)}"),
        *shlex.split(config.evaluate),
    ]
    # What is finished is not done again; training itself resumes, and a changed command is new.
    mark = run.workdir / "finished.json"
    if mark.is_file() and json.loads(mark.read_text()) == [train, judge]:
        return True
    environment = dict(os.environ)
    if config.processes > 1:
        environment |= {"CUDA_VISIBLE_DEVICES": str(device), "TPU_VISIBLE_CHIPS": str(device)}
    with run.log.open("ab") as log:
        for command in (train, judge):
            done = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
            )
            if done.returncode:
                return False
    files.write_text(mark, json.dumps([train, judge]))
    return True


def _evaluation(run: Run) -> pathlib.Path:
    return run.workdir / "evaluation"


def scores_of(run: Run) -> dict[str, tuple[str, float]]:
    """Returns the name and value of a run's main score for each task."""
    lines = json.loads((_evaluation(run) / "results.json").read_text())["results"]
    found: dict[str, tuple[str, float]] = {}
    for line in lines:
        whole = line["label_share"] == 1 and line["model"] == run.workdir.name
        if whole and line["task"] not in found and line["value"] is not None:
            found[line["task"]] = (line["score"], line["value"])  # the main score comes first
    return found


Row = dict[str, str]


def rows_of(
    points: Sequence[Point],
    runs: Sequence[Run],
    scores: Mapping[pathlib.Path, Mapping[str, tuple[str, float]]],
) -> list[Row]:
    """Returns a row per point: options, number of seeds, and mean and SD of each task's score."""
    tasks = list(dict.fromkeys(task for found in scores.values() for task in found))
    rows = []
    for point in points:
        mine = [scores[t.workdir] for t in runs if t.point == point and t.workdir in scores]
        if not mine:
            continue
        row: Row = {**point, "seeds": str(len(mine))}
        for task in tasks:
            values = [found[task][1] for found in mine if task in found]
            name = next(found[task][0] for found in scores.values() if task in found)
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            row[f"{task}: {name}"] = f"{np.mean(values):.3f}{spread}" if values else ""
        rows.append(row)
    return rows


def _write(config: Config, rows: Sequence[Row]) -> None:
    table = config.folder / "ablation.csv"
    with files.appearing(table) as half, half.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    cells = [[html.escape(value) for value in row.values()] for row in rows]
    settings = {
        field.name: str(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    caption = "Main score of each task; mean and standard deviation over seeds."
    page = template.document(
        "Which options matter?",
        template.section("Results", caption, template.table(list(rows[0]), cells)),
        template.folded("Settings", template.facts(settings)),
    )
    files.write_text(config.folder / "ablation.html", page)


def _table(rows: Sequence[Row]) -> rich.table.Table:
    table = rich.table.Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    return table


if __name__ == "__main__":
    main()
