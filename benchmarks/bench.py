"""Measures this machine: `make bench`, or `python benchmarks/bench.py`.

The real training step of each size, the same network in plain PyTorch beside it, the input
pipeline, and the largest batch that fits a GPU; about ten minutes. Writes
`benchmarks/results/<machine>.json` and, from all files there, `docs/benchmarks.md`. Everything runs
in processes of its own, so that one that runs out of memory harms nothing.
"""

import dataclasses
import json
import pathlib
import tempfile
import time
from typing import Any

import bench_facts
import bench_process
import bench_search
import bench_table
import bench_work
import rich.console
import step_worker
import train_step
import tyro

from clef_jax import files, plugin
from clef_jax.chip import by_device_kind
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.models import SIZES

_FOLDER = pathlib.Path(__file__).resolve().parent

_BATCHES = {
    "cpu": {"tiny": 64, "small": 64, "medium": 8, "large": 2},
    "": {"tiny": 1024, "small": 512, "medium": 256, "large": 64},
}
"""Patients of a device by platform and size, few enough for three frameworks beside each other."""

_WINDOW_SECONDS, _RATE_HZ = 10.0, 500.0
_NUM_SAMPLES = round(_WINDOW_SECONDS * _RATE_HZ)

_ALONE = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
"""A training step that has a GPU to itself may take nearly all of its memory."""

_SEARCH_SECONDS = 2.0
"""Of timed steps in each try of a search."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Measure this machine and write the tables."""

    sizes: tuple[str, ...] = ()
    """By default small and medium on CPU, large as well elsewhere."""
    out: pathlib.Path = _FOLDER / "results"
    """Folder of the JSON files, one per machine."""
    page: pathlib.Path = _FOLDER.parent / "docs" / "benchmarks.md"
    """The tables of all of them."""
    budget_seconds: float = 600.0
    """The search for the largest batch gets what the rest leaves of it."""
    seconds: float = 15.0
    """Timed steps of each size."""
    repeats: int = 5
    """Turns of each framework in a comparison."""
    conv_choices: str = "table"
    """Form of the grouped convolutions: table, auto, or a file of clef_jax.autotune."""
    torch: bool = True
    """Compare with PyTorch where it is installed."""
    compiled_torch: tuple[str, ...] | None = None
    """Sizes to compare with torch.compile too; by default all on a GPU, and on CPU, where it
    compiles for minutes, small."""
    pipeline: bool = True
    """Measure the input pipeline."""
    table_only: bool = False
    """Measure nothing and write the tables anew."""

    def __post_init__(self):
        for name in (*self.sizes, *(self.compiled_torch or ())):
            if name not in SIZES:
                raise UserError(plugin.unknown("encoder size", name, SIZES))


class Bench:
    """One measurement; `result` is what is known so far, as JSON takes it."""

    def __init__(self, settings: Settings, console: rich.console.Console):
        load_average = bench_facts.load_average()
        self.settings, self.console = settings, console
        self.deadline = time.monotonic() + settings.budget_seconds
        self.machine = bench_process.step(describe=True)
        self.is_cpu = self.machine["platform"] == "cpu"
        everything = ("small", "medium") if self.is_cpu else ("small", "medium", "large")
        self.sizes = settings.sizes or everything
        self.batches = _BATCHES["cpu" if self.is_cpu else ""]
        self.outcomes: dict[str, dict[str, Any]] = {}
        """Of the first step of each size."""
        self.result: dict[str, Any] = {
            "version": bench_table.VERSION,
            "name": bench_facts.named(self.machine),
            "machine": self.machine,
            "date": bench_facts.today(),
            "load_average": load_average,
            "commit": bench_facts.commit(_FOLDER),
            "versions": bench_facts.versions(),
            "window_seconds": _WINDOW_SECONDS,
            "sample_rate_hz": _RATE_HZ,
        }

    def run(self) -> dict[str, Any]:
        """Measures everything, and writes the file after each part."""
        parts = [self.steps]
        parts += [self.against_torch] if self.settings.torch else []
        parts += [self.pipeline] if self.settings.pipeline else []
        parts += [] if self.is_cpu else [self.largest_batches]
        for part in parts:
            self.result |= part()
            self.result["measured_seconds"] = round(
                time.monotonic() - self.deadline + self.settings.budget_seconds
            )
            self._write()
        return self.result

    def steps(self) -> dict[str, Any]:
        """The real training step of each size, by itself."""
        found = []
        for size in self.sizes:
            self.console.print(f"Training step, {size}")
            outcome = self._step(size, self.batches[size], self.settings.seconds)
            self.outcomes[size] = outcome
            if outcome["fits"]:
                found.append(dataclasses.asdict(self._figures(size, self.batches[size], outcome)))
            else:
                self.console.print(f"{size} does not fit with {self.batches[size]} patients.")
        return {"steps": found}

    def against_torch(self) -> dict[str, Any]:
        """The encoder with a plain loss, beside the same network in PyTorch, in turns."""
        found = []
        for size in self.sizes:
            self.console.print(f"Beside PyTorch, {size}")
            settings = self._comparison(size)
            frameworks, reasons = train_step.available(settings)
            for reason in reasons:
                self.console.print(reason, soft_wrap=True)
            try:
                compared = train_step.compare(settings, size, frameworks)
            except train_step.WorkerEnded as error:
                self.console.print(f"{size}: {error}", soft_wrap=True)
                continue
            found += [dataclasses.asdict(one) for one in compared]
        return {"against_torch": found}

    def pipeline(self) -> dict[str, Any]:
        """Pairs per second and core from prepared records, and the cores that a chip asks for."""
        self.console.print("Input pipeline")
        with tempfile.TemporaryDirectory() as scratch:
            found = bench_process.pipeline(pathlib.Path(scratch) / "pipeline.json")
        rate = found["pairs_per_second_and_core"]
        for size in ("small", "medium", "large"):
            asked = bench_work.appetite(size, _NUM_SAMPLES)
            found.setdefault("appetite", []).append(
                {"size": size, "pairs_per_second": asked, "cores": asked / rate}
            )
        return {"pipeline": found}

    def largest_batches(self) -> dict[str, Any]:
        """The largest batch of each size, in what is left of the time."""
        found = []
        for number, size in enumerate(self.sizes):
            self.console.print(f"Largest batch, {size}")
            now = time.monotonic()
            share = (self.deadline - now) / (len(self.sizes) - number)
            largest = bench_search.largest(
                lambda rows, size=size: self._step(size, rows, _SEARCH_SECONDS),
                first_rows=self.batches[size],
                first=self.outcomes[size],
                deadline=now + share,
            )
            rows, outcome = largest.found.rows, largest.outcome
            figures = outcome and dataclasses.asdict(self._figures(size, rows, outcome))
            found.append(
                {
                    "size": size,
                    "rows": rows,
                    "is_close": largest.found.is_close,
                    "trials": [dataclasses.asdict(one) for one in largest.found.trials],
                    "figures": figures,
                }
            )
        return {"largest_batches": found}

    def _comparison(self, size: str) -> train_step.Settings:
        compiled = self.settings.compiled_torch
        if compiled is None:
            compiled = ("small",) if self.is_cpu else self.sizes
        frameworks: tuple[step_worker.Framework, ...] = ("jax", "torch")
        return train_step.Settings(
            batch_size=self.batches[size],
            num_samples=_NUM_SAMPLES,
            device="cpu" if self.is_cpu else "gpu",
            precision="float32" if self.is_cpu else "bfloat16",
            threads=self.machine["num_cores"],
            frameworks=(*frameworks, "torch_compile") if size in compiled else frameworks,
            repeats=self.settings.repeats,
        )

    def _step(self, size: str, rows: int, seconds: float) -> dict[str, Any]:
        return bench_process.step(
            environment=None if self.is_cpu else _ALONE,
            size=size,
            global_batch_size=rows * self.machine["num_devices"],
            conv_choices=self.settings.conv_choices,
            window_seconds=_WINDOW_SECONDS,
            sample_rate_hz=_RATE_HZ,
            seconds=seconds,
        )

    def _figures(self, size: str, rows: int, outcome: dict[str, Any]) -> bench_work.StepFigures:
        return bench_work.figures(
            outcome,
            size=size,
            global_batch_size=rows * self.machine["num_devices"],
            num_samples=_NUM_SAMPLES,
            conv_choices=self.settings.conv_choices,
            chip=by_device_kind(self.machine["device_kind"]),
        )

    def _write(self) -> None:
        self.settings.out.mkdir(parents=True, exist_ok=True)
        path = self.settings.out / bench_facts.file_name(self.result["name"])
        files.write_text(path, json.dumps(self.result, indent=2) + "\n")


def main(settings: Settings) -> None:
    console = rich.console.Console(highlight=False)
    if not settings.table_only:
        Bench(settings, console).run()
    results = bench_table.read(settings.out)
    files.write_text(settings.page, bench_table.page(results))
    console.print(f"{settings.page.name} holds the tables of {len(results)} machines.")


if __name__ == "__main__":
    with exit_on_user_error():
        main(tyro.cli(Settings, description=__doc__))
