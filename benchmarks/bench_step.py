"""Times the real training step on this machine, in a separate process.

`python benchmarks/bench_step.py --size=small --global-batch-size=64` prints one line of JSON, also
if the step does not fit in memory. The batch is random and stays on the device, so the time
includes making the views, but not reading.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

import bench_kernels
import jax
import numpy as np
import tyro

from clef_jax import cores, mesh as mesh_lib
from clef_jax.chip import by_device_kind
from clef_jax.config import Precision, TrainConfig
from clef_jax.convolution import tuning_file
from clef_jax.errors import UserError
from clef_jax.machine import compute_dtype, keep_freed_memory
from clef_jax.planning import step as planned_step
from clef_jax.training import state as state_lib, step as step_lib

_LEAST_RUNS, _MOST_RUNS = 3, 50
_NO_MEMORY = "RESOURCE_EXHAUSTED"
_RATE = 1e-4
_COHORT = np.linspace(0, 0.5, 101)
"""Placeholder for the risk quantiles of a data set; the costs do not depend on their values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Training step to time."""

    size: str = "small"
    """Encoder size."""
    global_batch_size: int = 64
    """Number of patients on all devices together."""
    precision: Precision = "auto"
    remat: bool = False
    num_microbatches: int = 1
    own_kernels: bool = False
    """Use the kernels of this package on a GPU."""
    kernels: bool = False
    """Also profile some steps, and compare each kernel of a GPU with the compiler's estimate."""
    conv_choices: str = "table"
    """Implementation of the grouped convolutions: table (default rules), auto, or a file of
    clef_jax.autotune."""
    window_seconds: float = 10.0
    sample_rate_hz: float = 500.0
    seconds: float = 10.0
    """Duration of the timed steps, which are at least three and at most fifty."""
    describe: bool = False
    """Only print a description of the machine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """Machine that the step runs on."""

    platform: str
    device_kind: str
    num_devices: int
    num_cores: int
    """Number of CPU cores that this process may use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of timing a step; there are no times if it does not fit."""

    machine: Machine
    fits: bool
    """Whether the step fits in memory."""
    precision: str
    compile_seconds: float | None = None
    step_seconds: tuple[float, ...] = ()
    """Duration of each timed step."""
    planned_bytes: int | None = None
    """Memory of a device for arguments and temporaries, as the compiler estimates it."""
    peak_bytes: int | None = None
    """Peak memory in use on the first device; None if the device does not report it."""
    available_bytes: int | None = None
    """Memory that JAX may use on the first device."""
    kernels: dict[str, Any] | None = None
    """Estimate and clock of the kernels; see `bench_kernels.compare`."""


def machine() -> Machine:
    """Returns a description of this machine."""
    device = jax.devices()[0]
    return Machine(
        platform=device.platform,
        device_kind=device.device_kind,
        num_devices=jax.device_count(),
        num_cores=len(cores.own()),
    )


def random_batch(trainer: state_lib.Trainer, shapes: dict[str, Any]) -> dict[str, jax.Array]:
    """Returns a deterministic random batch, placed on the devices as in a training run."""
    rng = np.random.default_rng(0)
    makers = {
        "adc": lambda shape: rng.integers(-2000, 2000, shape, np.int16),
        "gain_per_mv": lambda shape: np.full(shape, 1000, np.float32),
        "baseline": lambda shape: np.zeros(shape, np.int32),
        "lead": lambda shape: rng.integers(0, 12, shape, np.int32),
        "risk": lambda shape: rng.uniform(0, 0.5, shape).astype(np.float32),
        "completeness": lambda shape: np.ones(shape, np.float32),
    }
    return mesh_lib.to_devices(
        {name: makers[name](array.shape) for name, array in shapes.items()}, trainer.mesh
    )


def run(settings: Settings) -> Outcome:
    """Compiles and times the step; the outcome has no times if it does not fit in memory."""
    keep_freed_memory()  # as training does
    here = machine()
    config = TrainConfig(
        data_dir="",
        workdir="",
        size=settings.size,
        global_batch_size=settings.global_batch_size,
        precision=settings.precision,
        remat=settings.remat,
        num_microbatches=settings.num_microbatches,
        own_kernels=settings.own_kernels,
        window_seconds=settings.window_seconds,
    )
    outcome = Outcome(
        machine=here,
        fits=False,
        precision=compute_dtype(config.precision, here.platform).name,
    )
    try:
        return _timed(settings, config, outcome)
    except jax.errors.JaxRuntimeError as error:
        if _NO_MEMORY not in str(error):
            raise
        return outcome


def _timed(settings: Settings, config: TrainConfig, outcome: Outcome) -> Outcome:
    mesh = mesh_lib.make_mesh()
    mesh_lib.check_batch_size(config.global_batch_size, mesh, config.num_microbatches)
    choices = tuning_file.load(settings.conv_choices, jax.devices()[0])
    trainer = state_lib.make_trainer(
        config, lambda _: _RATE, mesh, cohort=_COHORT, conv_choices=choices
    )
    shapes = planned_step.abstract_arguments(trainer, settings.sample_rate_hz)
    start = time.perf_counter()
    compiled = step_lib.make_train_step(trainer).lower(*shapes).compile()
    compile_seconds = time.perf_counter() - start
    state, batch = trainer.init(), random_batch(trainer, shapes[1])
    constants = step_lib.make_constants(config, settings.sample_rate_hz, mesh)
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) <= _LEAST_RUNS or (
        len(seconds) <= _MOST_RUNS and time.perf_counter() - begin < settings.seconds
    ):
        start = time.perf_counter()
        state, metrics = compiled(state, batch, constants)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
    kernels = None
    if settings.kernels:
        state, kernels = _kernels(compiled, state, batch, constants)
    if int(state.num_skipped):
        raise RuntimeError("A step of the benchmark was skipped: its loss was not finite.")
    memory = jax.local_devices()[0].memory_stats() or {}
    return dataclasses.replace(
        outcome,
        fits=True,
        compile_seconds=compile_seconds,
        step_seconds=tuple(seconds[1:]),
        planned_bytes=_planned_bytes(compiled),
        peak_bytes=memory.get("peak_bytes_in_use"),
        available_bytes=memory.get("bytes_limit"),
        kernels=kernels,
    )


def _kernels(
    compiled: jax.stages.Compiled, state: Any, batch: Any, constants: Any
) -> tuple[Any, dict[str, Any]]:
    """Profiles some steps; returns the last state, and estimate and clock of the kernels.

    Raises:
        UserError: the device is no known GPU, or its trace names no kernel.
    """
    device = jax.devices()[0]
    chip = by_device_kind(device.device_kind)
    if chip is None or chip.platform != "gpu":
        raise UserError(
            f"--kernels compares kernels of a GPU with known rates, not of {device.device_kind}.",
            problem="no_gpu",
        )
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(bench_kernels.NUM_STEPS):
                state, metrics = compiled(state, batch, constants)
            jax.block_until_ready((state, metrics))
        trace = bench_kernels.read_trace(pathlib.Path(folder))
    text = compiled.as_text() or ""
    return state, bench_kernels.compare(text, chip, trace, bench_kernels.NUM_STEPS)


def _planned_bytes(compiled: jax.stages.Compiled) -> int | None:
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def main(settings: Settings) -> None:
    result = machine() if settings.describe else run(settings)
    # JAX may also print warnings to standard output; the result is the last line.
    sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
