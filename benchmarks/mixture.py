"""Times the input pipeline and the training step on one prepared data set and on several.

`python benchmarks/mixture.py --data-dirs=DATA --one=ptb_xl --several "ptb_xl:0.5 chapman:0.2 ..."`

All variants alternate in this process. Reading is measured in processor time, so its results are
per core; with worker processes only the time of this process counts, which receives the batches and
hands them to the devices. `--data-dirs` may name copies of the data with other compressions.
"""

import dataclasses
import itertools
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import rich.console
import rich.table
import tyro

from clef_jax import files, mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.data import pipeline, training_data
from clef_jax.training import state as state_lib, step as step_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Times reading and training on one data set and on several, side by side."""

    data_dirs: tuple[pathlib.Path, ...]
    """Folders of prepared data sets; each is measured."""
    one: str = "ptb_xl"
    """The single data set."""
    several: str = "ptb_xl:0.5 chapman:0.2 mimic_iv_ecg:0.3"
    """The data sets with their weights, as --dataset of clef-jax train takes them."""
    batch_size: int = 64
    """Pairs per batch."""
    batches: int = 20
    """Batches per repetition."""
    repeats: int = 7
    """Repetitions; medians are printed."""
    processes: int = 2
    """Worker processes of the variants that have some."""
    size: str = "small"
    """Size of the encoder whose training step is timed; empty times no step."""
    window_seconds: float = 10.0
    """Length of a view in seconds."""
    target_pairs_per_second: float = 8 * 13_500
    """Pairs per second that the devices of a host take, for the cores and processes it needs."""
    json: pathlib.Path | None = None
    """JSON file for the results; by default none is written."""


def main() -> None:
    arguments = tyro.cli(Arguments)
    console = rich.console.Console(highlight=False, width=150)
    results = {"reading": _read(arguments)}
    console.print(_reading_table(arguments, results["reading"]))
    if arguments.size:
        results["step"] = _steps(arguments)
        console.print(_step_table(arguments, results["step"]))
    if arguments.json is not None:
        files.write_text(arguments.json, json.dumps(results, indent=2) + "\n")


def _config(arguments: Arguments, data_dir: pathlib.Path, **settings: Any) -> TrainConfig:
    return TrainConfig(
        data_dir=str(data_dir),
        workdir="",
        size=arguments.size or "small",
        global_batch_size=arguments.batch_size,
        window_seconds=arguments.window_seconds,
        **settings,
    )


def _mixtures(arguments: Arguments) -> dict[str, dict[str, str]]:
    return {
        "one": {"dataset": arguments.one},
        "several": {"dataset": arguments.several},
        "several, a batch from one": {
            "dataset": arguments.several,
            "batch_from": "one_data_set",
        },
    }


def _read(arguments: Arguments) -> dict[str, dict[str, float]]:
    """Returns pairs per second of processor time of each way of reading, by its name."""
    # Without worker processes no thread reads ahead, whose work would count for the next variant.
    streams: dict[str, Iterator[dict[str, np.ndarray]]] = {}
    for folder, (name, settings), workers in itertools.product(
        arguments.data_dirs, _mixtures(arguments).items(), (0, arguments.processes)
    ):
        if workers and name != "several":
            continue
        config = _config(arguments, folder, **settings, read_threads=1, read_processes=workers)
        data = training_data.load(config)
        sampler = pipeline.make_sampler(data, config)
        where = f"{folder.name}: {name}" + (f", {workers} processes" if workers else "")
        streams[where] = (
            pipeline.make_batches(sampler, config, first_step=0)
            if workers
            else map(pipeline._Batches(sampler, 0, 1).__getitem__, itertools.count())
        )
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    walls: dict[str, list[float]] = {name: [] for name in streams}
    pairs = arguments.batches * arguments.batch_size
    for repetition in range(arguments.repeats + 1):
        for name, stream in streams.items():
            cpu, wall = _seconds(lambda stream=stream: _take(stream, arguments.batches))
            if repetition:  # the first one opens files and fills caches
                seconds[name].append(cpu / pairs)
                walls[name].append(wall / pairs)
    return {
        name: {
            "pairs_per_second_and_core": 1 / statistics.median(seconds[name]),
            "pairs_per_second": 1 / statistics.median(walls[name]),
        }
        for name in streams
    }


def _take(stream: Iterator[dict[str, np.ndarray]], number: int) -> None:
    for _ in range(number):
        next(stream)


def _steps(arguments: Arguments) -> dict[str, dict[str, float]]:
    """Returns the milliseconds of a training step and of its views, by data sets."""
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    work: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    for name, settings in _mixtures(arguments).items():
        config = _config(arguments, arguments.data_dirs[0], **settings)
        data = training_data.load(config)
        sampler = pipeline.make_sampler(data, config)
        trainer = state_lib.make_trainer(config, lambda _: 1e-4, mesh)
        stored_samples = data.stored_samples(config.window_seconds)
        constants = step_lib.make_constants(config, data.sample_rate_hz, mesh, stored_samples)
        stream = pipeline.make_batches(sampler, config, first_step=0)
        work[name] = _work(trainer, constants, stream)
    times = {name: ([], []) for name in work}
    for repetition in range(arguments.repeats + 1):
        for name, functions in work.items():
            for function, measured in zip(functions, times[name], strict=True):
                wall = _seconds(function)[1]
                if repetition:  # the first one compiles
                    measured.append(1000 * wall)
    return {
        name: {
            "views_ms": statistics.median(views),
            "step_ms": statistics.median(steps),
            "pairs_per_second": 1000 * arguments.batch_size / statistics.median(steps),
        }
        for name, (views, steps) in times.items()
    }


def _work(
    trainer: state_lib.Trainer,
    constants: step_lib.Constants,
    stream: Iterator[dict[str, np.ndarray]],
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Returns functions that make the views of a batch, and that make a training step."""
    make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
    train_step = step_lib.make_train_step(trainer)
    states = [trainer.init()]

    def make_views() -> None:
        batch = mesh_lib.to_devices(next(stream), trainer.mesh)
        step = np.int32(0)
        jax.block_until_ready(make(trainer, batch, constants, step, trainer.config.augment))

    def make_step() -> None:
        batch = mesh_lib.to_devices(next(stream), trainer.mesh)
        states[0], metrics = train_step(states[0], batch, constants)
        jax.block_until_ready(metrics)

    return make_views, make_step


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Returns the processor time and the wall time of some work."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _reading_table(arguments: Arguments, results: dict[str, Any]) -> rich.table.Table:
    table = rich.table.Table(title=f"Reading batches of {arguments.batch_size} pairs")
    target = arguments.target_pairs_per_second
    wanted = f"cores for {target:,.0f} pairs/s"
    for column in ("data", "pairs/s and core of this process", wanted, "pairs/s, wall"):
        table.add_column(column)
    for name, values in results.items():
        rate = values["pairs_per_second_and_core"]
        cells = (f"{rate:,.0f}", f"{target / rate:.1f}", f"{values['pairs_per_second']:,.0f}")
        table.add_row(name, *cells)
    return table


def _step_table(arguments: Arguments, results: dict[str, Any]) -> rich.table.Table:
    table = rich.table.Table(title=f"Training step of {arguments.size}, wall time")
    for column in ("data", "views, ms", "step, ms", "pairs/s"):
        table.add_column(column)
    for name, values in results.items():
        cells = (values["views_ms"], values["step_ms"], values["pairs_per_second"])
        table.add_row(name, *(f"{value:,.1f}" for value in cells))
    return table


if __name__ == "__main__":
    main()
