"""Logs a run: scalars to JSON lines and TensorBoard, a progress line to the terminal.

Only process 0 writes.
"""

import collections
import contextlib
import json
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Literal

import jax
import rich.console
import rich.progress

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.line_file import LineFile
from clef_jax.training import tensorboard, timeline

METRICS_FILE = "metrics.jsonl"

_NOT_IN_PROGRESS = frozenset(
    {"pairs_per_second", "data_seconds", "device_seconds", "host_seconds", "num_skipped"}
    | {"num_skipped_in_a_row", "device_memory_gib", "host_memory_gib", "model_flops_utilization"}
)
"""Values that the progress line shows in another format, or only in unusual cases."""


_BEGINNING = '{"step":'
"""Beginning of each line of metrics."""
_RESUMES = "If started again, the run resumes from its newest checkpoint."

Part = Literal["data", "device"]


class Clock:
    """Measures how long steps wait for data, wait for the devices, and work on the host.

    Rates are means over the last steps. The first step is excluded, because it compiles.
    """

    def __init__(self, window_steps: int = 50, now: Callable[[], float] | None = None):
        """Prepares the clock.

        Args:
            window_steps: number of steps whose means the rates are.
            now: returns the time in seconds; by default that of `time.perf_counter`, which also
                passes while the process is stopped.
        """
        self._now = now or time.perf_counter
        self._steps: collections.deque[dict[str, float]] = collections.deque(maxlen=window_steps)
        self._compiling = True
        self.busy_seconds = 0.0
        """Time in all steps but the first."""
        self.restart()

    def restart(self) -> None:
        """Begins a step; the time since the last one (a checkpoint, a check) belongs to no step."""
        self._start = self._now()
        self._waited: dict[str, float] = {"data": 0.0, "device": 0.0}

    @contextlib.contextmanager
    def waiting(self, part: Part) -> Iterator[None]:
        """Counts the time of the block as waiting for the next batch, or for the devices."""
        start = self._now()
        yield
        self._waited[part] += self._now() - start

    def step_done(self) -> None:
        """Ends a step."""
        seconds = self._now() - self._start
        if not self._compiling:
            self._steps.append(self._waited | {"step": seconds})
            self.busy_seconds += seconds
        self._compiling = False

    @property
    def step_seconds(self) -> float:
        """Mean time of the last steps in seconds; 0 before the second step."""
        return self._mean("step")

    def rates(self, pairs_per_step: int) -> dict[str, float]:
        """Returns pairs per second, and seconds per step spent on data, devices and host."""
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
    """Logs the metrics of a run; lines after `step`, left by a killed start, are removed."""

    def __init__(self, workdir: pathlib.Path, *, step: int, total_steps: int):
        """Opens the logs in the workdir.

        Raises:
            UserError: the workdir has a file of metrics that no run wrote, or cannot be written.
        """
        self._writes = jax.process_index() == 0
        self._total_steps = total_steps
        self.console = rich.console.Console(quiet=not self._writes, highlight=False)
        if not self._writes:
            return
        files.make_folder(workdir)
        path = workdir / METRICS_FILE
        _check_ours(path)
        kept = [line for line in read(workdir) if line["step"] <= step]
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = LineFile(path, _RESUMES)
        self._timeline = timeline.Timeline(workdir, step)
        self._tensorboard = tensorboard.TensorBoard(workdir / "tensorboard", step + 1)
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
        """Appends a line of metrics; a value that is not finite is written as null.

        Raises:
            UserError: the line cannot be written.
        """
        if not self._writes:
            return
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        self._file.append(json.dumps({"step": step, **finite}))
        before = self._tensorboard.error
        self._tensorboard.add(step, {k: v for k, v in finite.items() if v is not None})
        if self._tensorboard.error is not before:
            self.console.print(
                f"The curves for TensorBoard end at step {step}: {self._tensorboard.error}. "
                f"{METRICS_FILE} continues.",
                soft_wrap=True,
                markup=False,
            )

    def timeline(self, step: int, busy_seconds: float) -> None:
        """Records the step that this start of the run reached, and the time spent in steps."""
        if self._writes:
            self._timeline.reached(step, busy_seconds)

    def progress(self, step: int, values: dict[str, float]) -> None:
        """Updates the progress bar; without a terminal, prints loss, its terms and rates."""
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


def _check_ours(path: pathlib.Path) -> None:
    """Raises UserError if a file of metrics has a line that no run writes, not even a cut one."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    for line in lines:
        beginning = line.strip("\0 ")[: len(_BEGINNING)]
        if not _BEGINNING.startswith(beginning):
            raise UserError(
                f"{path} was not written by a training run, so it is not changed; move it, or "
                "choose another --workdir.",
                problem="not_ours",
            )


def data_share(values: dict[str, float]) -> float:
    """Returns the fraction of a step that waits for data, from a line of metrics."""
    seconds = sum(values[f"{part}_seconds"] for part in ("data", "device", "host"))
    return values["data_seconds"] / seconds if seconds else 0.0


def read(workdir: pathlib.Path) -> list[dict]:
    """Returns the lines of a run's metrics, without a last line that a kill cut short."""
    return files.read_json_lines(workdir / METRICS_FILE)
