"""Measures this machine: `make bench`, or `python benchmarks/bench.py`.

Measures the real training step of each size, the same network in plain PyTorch, the input
pipeline, and on a GPU each kernel beside the compiler's estimate and the largest batch that fits,
in about ten minutes. Writes `benchmarks/results/<machine>.json` and, from all files there,
`docs/benchmarks.md`. Each measurement is a separate process, so that one that runs out of memory
does not end the others.
"""

import dataclasses
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import bench_facts
import bench_kernels
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
"""Patients per device by platform and size; three frameworks fit in memory at the same time."""

_WINDOW_SECONDS, _RATE_HZ = 10.0, 500.0
_NUM_SAMPLES = round(_WINDOW_SECONDS * _RATE_HZ)

_ALONE = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
"""Environment of a training step that may use nearly all memory of a GPU."""

_SEARCH_SECONDS = 2.0
"""Duration of the timed steps in each trial of a search."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Measures this machine and writes the tables."""

    sizes: tuple[str, ...] = ()
    """Encoder sizes; by default small and medium on CPU, and also large elsewhere."""
    out: pathlib.Path = _FOLDER / "results"
    """Folder of the JSON files, one per machine."""
    page: pathlib.Path = _FOLDER.parent / "docs" / "benchmarks.md"
    """Page with the tables of all machines."""
    budget_seconds: float = 600.0
    """Time limit; the search for the largest batch takes the time that remains."""
    seconds: float = 15.0
    """Duration of the timed steps of each size."""
    repeats: int = 5
    """Repetitions of each framework in a comparison."""
    conv_choices: str = "table"
    """Implementation of the grouped convolutions: table (default rules), auto, or a file of
    clef_jax.autotune."""
    torch: bool = True
    """Compare with PyTorch if it is installed."""
    compiled_torch: tuple[str, ...] | None = None
    """Sizes to compare with torch.compile, too; by default all on a GPU, and only small on CPU,
    where compilation takes minutes."""
    pipeline: bool = True
    """Measure the input pipeline."""
    table_only: bool = False
    """Only rewrite the tables, without a measurement."""

    def __post_init__(self):
        for name in (*self.sizes, *(self.compiled_torch or ())):
            if name not in SIZES:
                raise UserError(plugin.unknown("encoder size", name, SIZES))


class Bench:
    """Measures one machine; `result` holds the results so far, ready for JSON."""

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
        """Outcome of the first step of each size."""
        self.result: dict[str, Any] = {
            "version": bench_table.VERSION,
            "name": bench_facts.machine_name(self.machine),
            "machine": self.machine,
            "date": bench_facts.today(),
            "load_average": load_average,
            "commit": bench_facts.commit(_FOLDER),
            "versions": bench_facts.versions(),
            "window_seconds": _WINDOW_SECONDS,
            "sample_rate_hz": _RATE_HZ,
        }

    def run(self) -> dict[str, Any]:
        """Runs all measurements, and writes the file after each."""
        parts = [self.steps]
        parts += [self.kernels] if self.machine["platform"] == "gpu" else []
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
        """Measures the real training step of each size, by itself."""
        measured = []
        for size, own_kernels in itertools.product(self.sizes, self._forms):
            self.console.print(f"Training step, {size}{', own kernels' if own_kernels else ''}")
            outcome = self._step(
                size, self.batches[size], self.settings.seconds, own_kernels=own_kernels
            )
            if not own_kernels:
                self.outcomes[size] = outcome
            if outcome["fits"]:
                figures = self._figures(size, self.batches[size], outcome, own_kernels)
                measured.append(dataclasses.asdict(figures))
            else:
                self.console.print(f"{size} does not fit with {self.batches[size]} patients.")
        return {"steps": measured}

    @property
    def _forms(self) -> tuple[bool, ...]:
        """Whether the kernels of this package are used, for each form that is measured."""
        return (False, True) if self.machine["platform"] == "gpu" else (False,)

    def kernels(self) -> dict[str, Any]:
        """Compares the compiler's estimates of a GPU's kernels with the clock, and keeps the
        kernels that the GPU chose, for `clef-jax plan --autotune-results`."""
        measured = []
        for size, own_kernels in itertools.product(self.sizes, self._forms):
            if time.monotonic() > self.deadline:
                break
            self.console.print(f"Kernels, {size}{', own kernels' if own_kernels else ''}")
            name = bench_facts.file_name(self.result["name"]).removesuffix(".json")
            chosen = self.settings.out / f"{name}_{size}{'_own' * own_kernels}.textproto"
            flags = (*bench_kernels.XLA_FLAGS, f"--xla_gpu_dump_autotune_results_to={chosen}")
            outcome = self._step(
                size,
                self.batches[size],
                0.0,
                own_kernels=own_kernels,
                kernels=True,
                environment={"XLA_FLAGS": " ".join(flags)},
            )
            if outcome["fits"]:
                about = {"size": size, "own_kernels": own_kernels}
                measured.append(about | outcome["kernels"])
        return {"kernels": measured}

    def against_torch(self) -> dict[str, Any]:
        """Compares the encoder with the same network in PyTorch, both with a plain loss."""
        measured = []
        for size in self.sizes:
            self.console.print(f"Comparison with PyTorch, {size}")
            settings = self._comparison(size)
            frameworks, reasons = train_step.available(settings)
            for reason in reasons:
                self.console.print(reason, soft_wrap=True)
            try:
                compared = train_step.compare(settings, size, frameworks)
            except train_step.WorkerEnded as error:
                self.console.print(f"{size}: {error}", soft_wrap=True)
                continue
            measured += [dataclasses.asdict(comparison) for comparison in compared]
        return {"against_torch": measured}

    def pipeline(self) -> dict[str, Any]:
        """Measures pairs per second and core from prepared records, and the cores per chip."""
        self.console.print("Input pipeline")
        with tempfile.TemporaryDirectory() as scratch:
            measured = bench_process.pipeline(pathlib.Path(scratch) / "pipeline.json")
        rate = measured["pairs_per_second_and_core"]
        for size in ("small", "medium", "large"):
            required = bench_work.required_pairs_per_second(size, _NUM_SAMPLES)
            measured.setdefault("appetite", []).append(
                {"size": size, "pairs_per_second": required, "cores": required / rate}
            )
        return {"pipeline": measured}

    def largest_batches(self) -> dict[str, Any]:
        """Searches the largest batch of each size in the remaining time."""
        measured = []
        for number, size in enumerate(self.sizes):
            self.console.print(f"Largest batch, {size}")
            now = time.monotonic()
            seconds = (self.deadline - now) / (len(self.sizes) - number)
            largest = bench_search.largest(
                lambda rows, size=size: self._step(size, rows, _SEARCH_SECONDS),
                first_rows=self.batches[size],
                first=self.outcomes[size],
                deadline=now + seconds,
            )
            rows, outcome = largest.result.rows, largest.outcome
            figures = outcome and dataclasses.asdict(self._figures(size, rows, outcome))
            measured.append(
                {
                    "size": size,
                    "rows": rows,
                    "is_close": largest.result.is_close,
                    "trials": [dataclasses.asdict(trial) for trial in largest.result.trials],
                    "figures": figures,
                }
            )
        return {"largest_batches": measured}

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

    def _step(
        self,
        size: str,
        rows: int,
        seconds: float,
        *,
        environment: Mapping[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        return bench_process.step(
            environment={**({} if self.is_cpu else _ALONE), **(environment or {})},
            **more,
            size=size,
            global_batch_size=rows * self.machine["num_devices"],
            conv_choices=self.settings.conv_choices,
            window_seconds=_WINDOW_SECONDS,
            sample_rate_hz=_RATE_HZ,
            seconds=seconds,
        )

    def _figures(
        self, size: str, rows: int, outcome: dict[str, Any], own_kernels: bool = False
    ) -> bench_work.StepFigures:
        return bench_work.figures(
            outcome,
            own_kernels=own_kernels,
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
