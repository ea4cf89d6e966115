"""Times a training step and a forward pass, and the same network in plain PyTorch.

`python benchmarks/train_step.py --sizes small medium --batch-size 64`

PyTorch runs eagerly and with `torch.compile`. Each framework has a separate process with the same
number of threads. The processes alternate, so that other load affects all of them. The loss is
InfoNCE over two views; augmentation is not part of the step. PyTorch is the extra `torch`; without
it only JAX is timed.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import bench_process
import rich.console
import rich.table
import step_worker
import tyro

PROGRAMS = ("step", "forward")
_NAMES = {"torch": "PyTorch", "torch_compile": "torch.compile"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(step_worker.Config):
    """Settings of the comparison."""

    framework: tyro.conf.Suppress[step_worker.Framework] = "jax"
    size: tyro.conf.Suppress[str] = ""
    sizes: tuple[str, ...] = ("small",)
    frameworks: tuple[step_worker.Framework, ...] = ("jax", "torch", "torch_compile")
    """Frameworks to compare with `jax`."""
    repeats: int = 7
    """Timed repetitions, after one that is not counted."""

    def worker(self, framework: step_worker.Framework, size: str) -> step_worker.Config:
        """Returns the settings of one worker."""
        return step_worker.Config(
            framework=framework,
            size=size,
            batch_size=self.batch_size,
            num_samples=self.num_samples,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            keep_memory=self.keep_memory,
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Times of one program of one size in every framework."""

    size: str
    program: str
    """`step` or `forward`."""
    batch_size: int
    precision: str
    seconds: dict[str, float]
    """Median over the repetitions, by framework."""
    times_faster: dict[str, tuple[float, float, float]]
    """Speed of JAX relative to each other framework: median, minimum and maximum over the
    repetitions."""
    setup_seconds: dict[str, float]
    """Seconds for start, compilation of both programs and a first run of each."""


class WorkerEnded(RuntimeError):
    """A worker process ended early, most often because of too little memory."""


class Runs(Protocol):
    """Interface of an object that runs a program and returns its seconds."""

    setup_seconds: float

    def run(self, program: str) -> float: ...

    def close(self) -> None: ...


class Worker:
    """Process that times one framework at one size."""

    def __init__(self, config: step_worker.Config):
        command = [sys.executable, step_worker.__file__]
        command += bench_process.flags(dataclasses.asdict(config))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment(config),
        )
        self.setup_seconds = self._read()

    def run(self, program: str) -> float:
        """Runs a program once and returns its seconds."""
        assert self._process.stdin is not None
        # If the process has ended, `_read` raises an error.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{program}\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerEnded("A worker of the benchmark ended early; see its message above.")
        return float(json.loads(line))


def environment(config: step_worker.Config) -> dict[str, str]:
    """Returns the environment variables with which the workers share a machine."""
    if config.device == "cpu":
        return {"OMP_NUM_THREADS": str(config.threads), "JAX_PLATFORMS": "cpu"}
    # The frameworks share the memory of one GPU.
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def compare(
    settings: Settings,
    size: str,
    frameworks: Sequence[step_worker.Framework],
    start: Callable[[step_worker.Config], Runs] = Worker,
) -> list[Comparison]:
    """Compares both programs of one size; `jax` must be among the frameworks."""
    workers: dict[str, Runs] = {}
    try:
        for name in frameworks:
            workers[name] = start(settings.worker(name, size))
        setup = {name: worker.setup_seconds for name, worker in workers.items()}
        comparisons = []
        for program in PROGRAMS:
            seconds = alternate(workers, program, settings.repeats)
            head = (size, program, settings.batch_size, settings.precision)
            medians = {name: statistics.median(times) for name, times in seconds.items()}
            comparisons.append(Comparison(*head, medians, times_faster(seconds), setup))
        return comparisons
    finally:
        for worker in workers.values():
            worker.close()


def alternate(workers: dict[str, Runs], program: str, repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of each repetition but the first, by worker; the workers alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for repetition in range(repeats + 1):
        for name, worker in workers.items():
            duration = worker.run(program)
            if repetition:
                seconds[name].append(duration)
    return seconds


def times_faster(seconds: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Returns median, minimum and maximum of the ratios to `jax` per repetition, by framework."""
    summary = {}
    for name, times in seconds.items():
        if name != "jax":
            ratios = [other / jax for other, jax in zip(times, seconds["jax"], strict=True)]
            summary[name] = (statistics.median(ratios), min(ratios), max(ratios))
    return summary


def available(settings: Settings) -> tuple[list[step_worker.Framework], list[str]]:
    """Returns the frameworks that can run here, and sentences why others cannot."""
    frameworks: list[step_worker.Framework] = ["jax"]
    if importlib.util.find_spec("torch") is None:
        return frameworks, ["PyTorch is not installed (extra `torch`), so only JAX is timed."]
    if settings.device == "gpu":
        import torch

        if not torch.cuda.is_available():
            return frameworks, ["PyTorch finds no GPU, so only JAX is timed."]
    frameworks.extend(name for name in settings.frameworks if name != "jax")
    if "torch_compile" in frameworks and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        frameworks.remove("torch_compile")
        return frameworks, ["torch.compile is skipped, because it needs a C++ compiler."]
    return frameworks, []


def table(settings: Settings, comparisons: Sequence[Comparison]) -> rich.table.Table:
    """Returns a table with a row per size, program and other framework."""
    threads = f", {settings.threads} threads" if settings.device == "cpu" else ""
    title = f"{settings.batch_size} pairs of {settings.num_samples} samples, {settings.precision}"
    result = rich.table.Table(title=title + threads)
    for heading in (
        "size",
        "program",
        "JAX, ms",
        "signals/s",
        "compared with",
        "ms",
        "times faster",
    ):
        result.add_column(heading, justify="right")
    for heading in ("range", "JAX setup, s", "its setup, s"):
        result.add_column(heading, justify="right")
    for item in comparisons:
        ours = item.seconds["jax"]
        row = [item.size, item.program, f"{ours * 1e3:.0f}", f"{2 * item.batch_size / ours:.0f}"]
        setup = f"{item.setup_seconds['jax']:.1f}"
        if not item.times_faster:
            result.add_row(*row, "", "", "", "", setup, "")
        for name, (median, least, most) in item.times_faster.items():
            theirs = (_NAMES[name], f"{item.seconds[name] * 1e3:.0f}", f"{median:.2f}")
            setups = (f"{least:.2f} to {most:.2f}", setup, f"{item.setup_seconds[name]:.1f}")
            result.add_row(*row, *theirs, *setups)
    return result


def main(settings: Settings) -> None:
    console = rich.console.Console(highlight=False)
    frameworks, reasons = available(settings)
    for reason in reasons:
        console.print(reason)
    comparisons = [
        comparison for size in settings.sizes for comparison in compare(settings, size, frameworks)
    ]
    console.print(table(settings, comparisons))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
