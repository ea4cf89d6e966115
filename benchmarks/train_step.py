"""Times a training step and a forward pass, beside the same network in plain PyTorch.

`python benchmarks/train_step.py --sizes small medium --batch-size 64`

PyTorch runs twice, eager and through `torch.compile`. Each framework has its own process with the
same number of threads; they take turns, so that whatever else the machine does meets all. The loss
is InfoNCE over two views; an augmented input is not part of the step. PyTorch is the extra `torch`;
without it our own times are printed.
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
    """What to time."""

    framework: tyro.conf.Suppress[step_worker.Framework] = "jax"
    size: tyro.conf.Suppress[str] = ""
    sizes: tuple[str, ...] = ("small",)
    frameworks: tuple[step_worker.Framework, ...] = ("jax", "torch", "torch_compile")
    """Those to run beside each other; `jax` is what the others are compared with."""
    repeats: int = 7
    """Timed turns of each, after one that is not counted."""

    def worker(self, framework: step_worker.Framework, size: str) -> step_worker.Config:
        """What one of the processes is told."""
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
    """One program of one size in every framework."""

    size: str
    program: str
    """`step` or `forward`."""
    batch_size: int
    precision: str
    seconds: dict[str, float]
    """Median of the turns, by framework."""
    times_faster: dict[str, tuple[float, float, float]]
    """How many times faster we are than each other framework: median, least and most of the turns,
    each a ratio within one turn."""
    setup_seconds: dict[str, float]
    """Start, compilation of both programs and a first run of each."""


class WorkerEnded(RuntimeError):
    """A process that ended before it was told to, most often for want of memory."""


class Runs(Protocol):
    """Whatever runs a program and tells the seconds."""

    setup_seconds: float

    def run(self, program: str) -> float: ...

    def close(self) -> None: ...


class Worker:
    """A process that times one framework at one size."""

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
        """Seconds that one run of the program took."""
        assert self._process.stdin is not None
        # Where it has ended, the missing answer tells.
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
            raise WorkerEnded("A worker of the benchmark ended early; its own message is above.")
        return float(json.loads(line))


def environment(config: step_worker.Config) -> dict[str, str]:
    """What the processes need to share a machine."""
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
    """Both programs of one size; `jax` must be among the frameworks."""
    workers: dict[str, Runs] = {}
    try:
        for name in frameworks:
            workers[name] = start(settings.worker(name, size))
        setup = {name: worker.setup_seconds for name, worker in workers.items()}
        found = []
        for program in PROGRAMS:
            turns = in_turns(workers, program, settings.repeats)
            head = (size, program, settings.batch_size, settings.precision)
            medians = {name: statistics.median(taken) for name, taken in turns.items()}
            found.append(Comparison(*head, medians, times_faster(turns), setup))
        return found
    finally:
        for worker in workers.values():
            worker.close()


def in_turns(workers: dict[str, Runs], program: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of each worker's turns, but for the first."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(repeats + 1):
        for name, worker in workers.items():
            taken = worker.run(program)
            if turn:
                seconds[name].append(taken)
    return seconds


def times_faster(turns: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Median, least and most of the ratios to `jax`, each within one turn, by other framework."""
    found = {}
    for name, seconds in turns.items():
        if name != "jax":
            ratios = [other / ours for other, ours in zip(seconds, turns["jax"], strict=True)]
            found[name] = (statistics.median(ratios), min(ratios), max(ratios))
    return found


def available(settings: Settings) -> tuple[list[step_worker.Framework], list[str]]:
    """The frameworks that can run here, and why others cannot, in sentences."""
    found: list[step_worker.Framework] = ["jax"]
    if importlib.util.find_spec("torch") is None:
        return found, ["PyTorch is not installed (extra `torch`), so only our own times follow."]
    if settings.device == "gpu":
        import torch

        if not torch.cuda.is_available():
            return found, ["This PyTorch sees no GPU, so only our own times follow."]
    found.extend(name for name in settings.frameworks if name != "jax")
    if "torch_compile" in found and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        found.remove("torch_compile")
        return found, ["There is no C++ compiler here, which torch.compile needs."]
    return found, []


def table(settings: Settings, comparisons: Sequence[Comparison]) -> rich.table.Table:
    """One row per size, program and other framework."""
    threads = f", {settings.threads} threads" if settings.device == "cpu" else ""
    title = f"{settings.batch_size} pairs of {settings.num_samples} samples, {settings.precision}"
    result = rich.table.Table(title=title + threads)
    for heading in ("size", "program", "ms", "signals/s", "beside", "ms", "times faster"):
        result.add_column(heading, justify="right")
    for heading in ("of single turns", "setup s, ours", "theirs"):
        result.add_column(heading, justify="right")
    for one in comparisons:
        ours = one.seconds["jax"]
        row = [one.size, one.program, f"{ours * 1e3:.0f}", f"{2 * one.batch_size / ours:.0f}"]
        setup = f"{one.setup_seconds['jax']:.1f}"
        if not one.times_faster:
            result.add_row(*row, "", "", "", "", setup, "")
        for name, (median, least, most) in one.times_faster.items():
            theirs = (_NAMES[name], f"{one.seconds[name] * 1e3:.0f}", f"{median:.2f}")
            turns = (f"{least:.2f} to {most:.2f}", setup, f"{one.setup_seconds[name]:.1f}")
            result.add_row(*row, *theirs, *turns)
    return result


def main(settings: Settings) -> None:
    console = rich.console.Console(highlight=False)
    frameworks, reasons = available(settings)
    for reason in reasons:
        console.print(reason)
    found = [one for size in settings.sizes for one in compare(settings, size, frameworks)]
    console.print(table(settings, found))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
