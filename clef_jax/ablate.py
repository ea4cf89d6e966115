"""Trains and evaluates encoders over a grid of settings, and tabulates their scores.

`python -m clef_jax.ablate --grid "clef.temperature=0.05 0.07" --data-dir=DIR --out=DIR`

Each grid point and seed is one run, in a process of its own on one device. The same command resumes
an interrupted grid.
"""

import concurrent.futures
import dataclasses
import hashlib
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
from typing import TYPE_CHECKING, Literal

import rich.console
import rich.table

from clef_jax import command_line, cores, evaluate, files, folder_lock
from clef_jax.errors import UserError, WrongArgument, counted, exit_on_user_error

if TYPE_CHECKING:
    from clef_jax.evaluation.ablation import MainScore

LOCK_FILE = "ablate.lock"
_TAIL_BYTES = 1 << 16
"""Number of bytes at the end of a log in which the reason is searched."""
_FRAME_START = "╭"
_FRAME = f"{_FRAME_START}╮│─╰╯ "
"""Frame around a message about wrong arguments, which is no part of the reason."""
_MAX_REASON = 500
"""Largest number of characters of the reason why a run failed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Trains and evaluates encoders over a grid of settings, and tabulates their scores."""

    grid: tuple[str, ...]
    """Settings to vary, each as "FLAG=VALUE VALUE ...", for example "clef.min_distance=0 0.2 0.5",
    "leads=random I" or "objective=clef simclr". FLAG is any flag of clef-jax train."""
    data_dir: str
    """Folder of prepared data sets, as given to clef-jax prepare."""
    out: str
    """Folder for the runs and the table."""
    train: str = ""
    """Flags of clef-jax train for all runs, for example "--size=small --num-steps=1000"."""
    evaluate: str = ""
    """Flags of clef-jax evaluate for all runs, for example "--tasks=paper"."""
    design: Literal["product", "one_at_a_time"] = "product"
    """product: every combination of values; one_at_a_time: the first value of every setting, and
    each other value with the first values of all other settings."""
    seeds: tuple[int, ...] = (42,)
    """Seeds; each grid point is trained once per seed."""
    processes: int = 1
    """Number of runs at the same time. Each run uses one GPU or TPU chip, so give the number of
    them, and an equal part of the cores."""
    overwrite: bool = False
    """Replace an ablation.csv or ablation.html that this command did not write; otherwise it is an
    error."""

    def __post_init__(self):
        if self.processes < 1 or not self.seeds:
            raise UserError("--processes must be at least 1, and --seeds at least one number.")
        for seed in self.seeds:
            command_line.check_seed(seed, "--seeds")

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


SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(command_line.parse(SETTINGS, argv, "ablate"))


def run(config: Config) -> None:
    """Finishes the runs that are not finished, and writes ablation.csv and ablation.html.

    Raises:
        UserError: the grid or the flags of the evaluation cannot be used; another process uses the
            folder; or a run failed, and the table then holds the other runs.
    """
    from clef_jax.evaluation import ablation

    console = rich.console.Console(highlight=False)
    points = list(points_of(config))
    ablation.check_outputs(config.folder, overwrite=config.overwrite)
    _check_names(config, points)
    runs = [
        Run(point, seed, config.folder / "runs" / f"{name_of(point)}_seed_{seed}")
        for seed in config.seeds
        for point in points
    ]
    console.print(
        f"{counted(len(points), 'point')}, {counted(len(runs), 'run')}, {config.processes} at a "
        "time."
    )
    files.check_output_folder(config.folder)
    with folder_lock.FolderLock(config.folder / LOCK_FILE):
        failed = _run_all(config, runs, console)
        _tabulate(config, points, runs, failed, console)
    if failed:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in failed.items())
        raise UserError(
            f"{len(failed)} of {counted(len(runs), 'run')} failed; the same command tries them "
            f"again.\n{reasons}",
            problem="failed_runs",
        )


def _tabulate(
    config: Config,
    points: Sequence[Point],
    runs: Sequence[Run],
    failed: Mapping[str, str],
    console: rich.console.Console,
) -> None:
    """Writes and prints the scores of all runs that were evaluated, if there are any."""
    from clef_jax.evaluation import ablation, effects

    scores = {
        run.workdir: scores_of(run) for run in runs if (_evaluation(run) / "results.json").is_file()
    }
    rows = rows_of(points, runs, scores)
    if not rows:
        return
    settings = {
        field.name: str(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    trials = [
        effects.Trial(run.point, run.seed, scores[run.workdir])
        for run in runs
        if run.workdir in scores
    ]
    ablation.write(config.folder, rows, settings, failed, trials)
    console.print(_table(rows))
    page = config.folder / ablation.PAGE
    console.print(f"The table is in {page} and {ablation.TABLE}.", soft_wrap=True)


def _check_names(config: Config, points: Sequence[Point]) -> None:
    """Raises UserError, or exits as the commands do, if a flag of evaluate or train cannot be used.

    Likewise if a run trains on a lead, or evaluates a layer, that does not exist. Otherwise, the
    mistake would be reported after the first training.
    """
    from clef_jax.evaluation import grid_check
    from clef_jax.training import arguments

    flags = _evaluation_flags(config, "MODEL", config.folder / "evaluation")
    settings = command_line.parse(evaluate.SETTINGS, flags, "evaluate")
    train = _split(config.train, "--train")
    grid_check.check_training(settings, [[*train, *_point_flags(point)] for point in points])
    grid_check.check_evaluation(settings)
    for point in points:
        parsed = arguments.parse(
            [f"--data-dir={config.data_dir}", "--workdir=", *train, *_point_flags(point)]
        )
        if parsed.workdir:
            raise WrongArgument("--workdir belongs to each run; set --out, the folder of all runs.")


def _point_flags(point: Point) -> list[str]:
    return [f"--{flag}={value}" for flag, value in point.items()]


def _split(text: str, flag: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise WrongArgument(f"{flag}={text!r} cannot be split: {error}.") from error


def _evaluation_flags(config: Config, model: object, out: pathlib.Path) -> list[str]:
    own = _split(config.evaluate, "--evaluate")
    flags = ["--model", str(model), "--baselines=none"]
    return [*flags, f"--data-dir={config.data_dir}", f"--out={out}", *own]


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
            raise WrongArgument(
                f"--grid {text!r} must be FLAG=VALUE VALUE, such as 'leads=random I'.",
                problem="unreadable_grid",
            )
        if flag in axes:
            raise WrongArgument(f"--grid names {flag} twice.", problem="duplicate_flag")
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


def _run_all(config: Config, runs: Sequence[Run], console: rich.console.Console) -> dict[str, str]:
    """Returns the reason for each run that failed, by the run's name."""
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for device in range(config.processes):
        free.put(device)
    failed: dict[str, str] = {}

    def run_on_free_device(run: Run) -> str | None:
        device = free.get()
        try:
            return run_one(config, run, device)
        finally:
            free.put(device)

    with concurrent.futures.ThreadPoolExecutor(config.processes) as pool:
        pending = {pool.submit(run_on_free_device, run): run for run in runs}
        for number, done in enumerate(concurrent.futures.as_completed(pending), start=1):
            name, reason = pending[done].workdir.name, done.result()
            text = f"{number}/{len(runs)} {'failed' if reason else 'done'}: {name}"
            text += f": {reason}" if reason else ""
            console.print(text, soft_wrap=True, markup=False)
            if reason is not None:
                failed[name] = reason
    return failed


def run_one(config: Config, run: Run, device: int) -> str | None:
    """Trains and evaluates one run on one device; returns why it failed, or None."""
    files.make_folder(run.workdir)
    python = [sys.executable, "-m"]
    train = [
        *(*python, "clef_jax.train", f"--data-dir={config.data_dir}"),
        *(f"--workdir={run.workdir}", f"--seed={run.seed}"),
        *(*shlex.split(config.train), *_point_flags(run.point)),
    ]
    evaluate = [
        *(*python, "clef_jax.evaluate"),
        *_evaluation_flags(config, run.workdir, _evaluation(run)),
    ]
    # A finished run is skipped; training resumes by itself, and a changed command is a new run.
    mark = run.workdir / "finished.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == [train, evaluate]:
        return None
    environment = dict(os.environ)
    if config.processes > 1:
        environment |= {"CUDA_VISIBLE_DEVICES": str(device), "TPU_VISIBLE_CHIPS": str(device)}
    for name, command in (("training", train), ("evaluation", evaluate)):
        with files.writing(run.log), run.log.open("ab") as log:
            start = log.tell()
            options = {"stdout": log, "stderr": subprocess.STDOUT, "env": environment}
            code = cores.run(command, cores.shares(config.processes)[device], **options)
        if code:
            return f"{name}: {_reason(run.log, start, code)}"
    files.write_text(mark, json.dumps([train, evaluate]))
    return None


def _reason(log: pathlib.Path, start: int, code: int) -> str:
    """Returns why a command failed: the last error, or the last line, of its part of the log.

    Args:
        log: log of the run.
        start: position in the log where the output of the command begins.
        code: exit code of the command.
    """
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip(_FRAME)]
    heads = ("Error: ", _FRAME_START) if code == command_line.WRONG_ARGUMENTS else ("Error: ",)
    starts = [number for number, line in enumerate(lines) if line.startswith(heads)]
    last = lines[starts[-1] if starts else -1 :]
    if any(line.startswith("Traceback") for line in last):
        last = last[-1:]
    text = " ".join(line.strip(_FRAME) for line in last).removeprefix("Error: ") or "no output"
    return f"{text[:_MAX_REASON]} (exit code {code}; {log})"


def _evaluation(run: Run) -> pathlib.Path:
    return run.workdir / "evaluation"


def scores_of(run: Run) -> "dict[str, MainScore]":
    """Returns a run's main score for each task."""
    from clef_jax.evaluation import ablation

    return ablation.main_scores(_evaluation(run) / "results.json", run.workdir.name)


Row = dict[str, str]


def rows_of(
    points: Sequence[Point],
    runs: Sequence[Run],
    scores: "Mapping[pathlib.Path, Mapping[str, MainScore | tuple[str, float]]]",
) -> list[Row]:
    """Returns a row per point: options, number of seeds, and mean and SD of each task's score."""
    from clef_jax.evaluation import ablation

    tasks = list(dict.fromkeys(task for of_run in scores.values() for task in of_run))
    rows = []
    for point in points:
        of_point = [scores[t.workdir] for t in runs if t.point == point and t.workdir in scores]
        if not of_point:
            continue
        row: Row = {**point, ablation.SEEDS: str(len(of_point))}
        for task in tasks:
            of_task = [of_run[task] for of_run in of_point if task in of_run]
            name = next(of_run[task][0] for of_run in scores.values() if task in of_run)
            row[f"{task}: {name}"] = ablation.cell(of_task)
        rows.append(row)
    return rows


def _table(rows: Sequence[Row]) -> rich.table.Table:
    table = rich.table.Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    return table


if __name__ == "__main__":
    main()
