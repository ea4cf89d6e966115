"""Trains encoders for the comparisons in this folder, several at a time on cores of their own."""

import dataclasses
import json
import pathlib
import queue
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures

import bench_process
import markdown_table

from clef_jax import cores

FIRST_SEED = 42
OTHER_SECONDS = ("--learning-rate=1e-3", "--window-start=random", "--window-seconds=5")
"""Views of other seconds of a recording, and the rate that they allow."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One training run; the same one is not trained twice."""

    name: str
    seed: int
    flags: tuple[str, ...]
    """Flags of clef-jax train, besides those that all trainings share."""
    data_dir: pathlib.Path

    @property
    def folder(self) -> str:
        return f"{self.name}_{self.seed}"


def without_seed(folder: str) -> str:
    """Returns the name of the training that a folder is of, without its seed."""
    return re.sub(r"_\d\d$", "", folder)


def command(verb: str, **flags) -> list[str]:
    """Returns a command of clef_jax with its flags."""
    return [sys.executable, "-m", f"clef_jax.{verb}", *bench_process.flags(flags)]


def shared_settings(steps: int, batch_size: int = 64) -> dict[str, int | str]:
    """Returns the settings of `clef-jax train` that all trainings of a comparison share."""
    return {
        "num_steps": steps,
        "global_batch_size": batch_size,
        "schedule": "cosine",
        "warmup_steps": steps // 20,
        "health_every_steps": 0,
        "keep_checkpoints": 1,
    }


def train_all(
    trainings: Sequence[Training],
    out: pathlib.Path,
    *,
    processes: int = 1,
    steps: int = 800,
    batch_size: int = 64,
) -> list[pathlib.Path]:
    """Trains encoders, unless that was done, and returns their workdirs.

    An interrupted training resumes.
    """
    free: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
    for share in cores.shares(processes):
        free.put(share)

    def train(training: Training) -> pathlib.Path:
        own = free.get()
        try:
            return _train(training, out, own, steps, batch_size)
        finally:
            free.put(own)

    with futures.ThreadPoolExecutor(processes) as pool:
        return list(pool.map(train, trainings))


def _train(
    training: Training, out: pathlib.Path, own: frozenset[int], steps: int, batch_size: int
) -> pathlib.Path:
    workdir = out / "runs" / training.folder
    done = workdir.with_name(f"{workdir.name}.done")
    workdir.parent.mkdir(parents=True, exist_ok=True)
    flags = command(
        "train",
        data_dir=training.data_dir,
        workdir=workdir,
        checkpoint_every_steps=100,
        seed=training.seed,
        **shared_settings(steps, batch_size),
    )
    flags = [*flags, *training.flags]
    if done.exists():
        if done.read_text() != json.dumps(flags[1:]):
            raise SystemExit(f"{workdir} was trained with other flags; use another --out.")
        return workdir
    with workdir.with_name(f"{workdir.name}.log").open("a") as log:
        code = cores.run(flags, own, stdout=log, stderr=subprocess.STDOUT)
    if code:
        raise SystemExit(f"The training failed with exit code {code}; see {log.name}.")
    done.write_text(json.dumps(flags[1:]))
    print(f"trained {workdir.name}", flush=True)  # noqa: T201
    return workdir


def evaluate(
    workdirs: Sequence[pathlib.Path], *flags: str, data_dir: pathlib.Path, out: pathlib.Path
) -> list[dict]:
    """Evaluates encoders, unless that was done, and returns the results; `out` holds the page."""
    path, mark = out / "results.json", out / "command.json"
    models = ["--model", *map(str, workdirs)]
    wanted = [*command("evaluate", data_dir=data_dir, out=out), *models, *flags]
    if not mark.exists() or json.loads(mark.read_text()) != wanted[1:]:
        subprocess.run(wanted, check=True)
        mark.write_text(json.dumps(wanted[1:]))
    return json.loads(path.read_text())["results"]


def summary(results: list[dict]) -> str:
    """Returns an evaluation as a Markdown table: a row for each training and probe.

    A cell has the mean over seeds of the main score, and means of the ends of its intervals.
    """
    main_scores = ("auroc", "macro auroc", "mae")
    cells: dict[tuple[str, str], dict[str, list]] = {}
    for result in results:
        if result["score"] in main_scores and result["label_share"] == 1:
            row = (without_seed(result["model"]), result["method"])
            cells.setdefault(row, {}).setdefault(result["task"], []).append(result)
    names = list(dict.fromkeys(result["task"] for result in results))
    lines = [
        (
            *(name, probe),
            max(len(found) for found in of_task.values()),
            *(_cell(of_task.get(task, [])) for task in names),
        )
        for (name, probe), of_task in cells.items()
    ]
    return markdown_table.table(("row", "probe", "seeds", *names), lines)


def _cell(found: list) -> str:
    if not found:
        return ""
    decimals = 2 if found[0]["score"] == "mae" else 3
    return mean_interval([(x["value"], x["low"], x["high"]) for x in found], decimals)


def mean_interval(scores: Sequence[Sequence[float | None]], decimals: int) -> str:
    """Returns the means of scores and of the ends of their intervals.

    Args:
        scores: value, low and high of each score; None where it is not defined.
        decimals: number of decimals.
    """
    means = []
    for column in zip(*scores, strict=True):
        numbers = [number for number in column if number is not None]
        means.append(digits(statistics.mean(numbers), decimals) if numbers else "not defined")
    return f"{means[0]} [{means[1]}, {means[2]}]"


def digits(number: float, decimals: int) -> str:
    """Returns a number as tables show it: without the zero before the point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{number:.{decimals}f}")
