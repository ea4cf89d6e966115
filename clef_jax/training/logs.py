"""Logs a run: scalars to JSON lines and TensorBoard, a progress line to the terminal.

Only process 0 writes.
"""

import collections
import contextlib
import json
import math
import pathlib
import time
from collections.abc import Iterator
from typing import Literal

import jax
import rich.console
import rich.progress
from tensorboardX import SummaryWriter

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.training import timeline

METRICS_FILE = "metrics.jsonl"

_NOT_IN_PROGRESS = frozenset(
    {"pairs_per_second", "data_seconds", "device_seconds", "host_seconds", "num_skipped"}
    | {"num_skipped_in_a_row", "device_memory_gib", "host_memory_gib", "model_flops_utilization"}
)
"""Values that the progress line shows in another form, or only in unusual cases."""


Part = Literal["data", "device"]


class Clock:
    """Splits the time of the last steps into waiting for data, waiting for the devices, and work
    of the host.

    The first step is excluded, because it compiles.
    """

    def __init__(self, window_steps: int = 50):
        self._steps: collections.deque[dict[str, float]] = collections.deque(maxlen=window_steps)
        self._compiling = True
        self.busy_seconds = 0.0
        """Time in all steps but the first."""
        self.restart()

    def restart(self) -> None:
        """Begins a step; the time before it (a checkpoint, a check) belongs to no step."""
        self._start = time.perf_counter()
        self._waited: dict[str, float] = {"data": 0.0, "device": 0.0}

    @contextlib.contextmanager
    def waiting(self, part: Part) -> Iterator[None]:
        """Counts the time of the block as waiting for the next batch, or for the devices."""
        start = time.perf_counter()
        yield
        self._waited[part] += time.perf_counter() - start

    def step_done(self) -> None:
        """Ends a step."""
        seconds = time.perf_counter() - self._start
        if not self._compiling:
            self._steps.append(self._waited | {"step": seconds})
            self.busy_seconds += seconds
        self._compiling = False

    @property
    def step_seconds(self) -> float:
        """Mean time of the last steps; 0 before the second step."""
        return self._mean("step")

    def rates(self, pairs_per_step: int) -> dict[str, float]:
        """Returns pairs per second, and the seconds of a step by what it waits for."""
        seconds, data, device = (self._mean(name) for name in ("step", "data", "device"))
        return {
            "pairs_per_second": pairs_per_step / seconds if seconds else 0.0,
            "data_seconds": data,
            "device_seconds": device,
            "host_seconds": max(0.0, seconds - data - device),
        }

    def _mean(self, name: str) -> float:
        return sum(step[name] for step in self._steps) / max(len(self._steps), 1)


class Log:
    """Logs the metrics of a run. Lines after `step`, from a run that was killed, are removed."""

    def __init__(self, workdir: pathlib.Path, *, step: int, total_steps: int):
        self._writes = jax.process_index() == 0
        self._total_steps = total_steps
        self.console = rich.console.Console(quiet=not self._writes, highlight=False)
        if not self._writes:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / METRICS_FILE
        kept = [line for line in read(workdir) if line["step"] <= step]
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")
        self._timeline = timeline.Timeline(workdir, step)
        self._tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._progress.add_task("compiling", total=total_steps, completed=step)

    def __enter__(self) -> "Log":
        if self._writes and self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        if self._writes:
            self._progress.stop()
            self._file.close()
            self._tensorboard.close()
            self._timeline.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Appends one line; a value that is not finite is written as null."""
        if not self._writes:
            return
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"The metrics of step {step} could not be written to {self._file.name}: "
                f"{error.strerror}. Started again, the run goes on from its newest checkpoint."
            ) from error
        for name, value in finite.items():
            if value is not None:
                self._tensorboard.add_scalar(name, value, step)

    def timeline(self, step: int, busy_seconds: float) -> None:
        """Records how far this start of the run came, and how long its steps took."""
        if self._writes:
            self._timeline.reached(step, busy_seconds)

    def progress(self, step: int, values: dict[str, float]) -> None:
        """Moves the bar with loss, its parts and the rates; without a terminal, prints a line."""
        if not self._writes:
            return
        shown = {k: v for k, v in values.items() if k not in _NOT_IN_PROGRESS}
        shown = {"loss": values["loss"]} | shown
        text = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
        if values["pairs_per_second"]:  # the first step, which compiles, is not timed
            text += f"  {values['pairs_per_second']:.1f} pairs/s"
            text += f"  {data_share(values):.0%} waiting for data"
            if "model_flops_utilization" in values:
                text += f"  {values['model_flops_utilization']:.1%} of the peak"
        self._progress.update(self._task, completed=step, description=text)
        if not self.console.is_terminal:
            self.console.print(f"step {step}/{self._total_steps}  {text}", soft_wrap=True)


def data_share(values: dict[str, float]) -> float:
    """Returns the fraction of a step that waits for data, from a line of metrics."""
    seconds = sum(values[f"{part}_seconds"] for part in ("data", "device", "host"))
    return values["data_seconds"] / seconds if seconds else 0.0


def read(workdir: pathlib.Path) -> list[dict]:
    """Returns the lines of a run's metrics, without a last line that a kill cut short."""
    return files.read_json_lines(workdir / METRICS_FILE)
