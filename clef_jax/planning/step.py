"""Lowers and compiles the training step for a machine that need not be present.

The step is the function that training jits, `training.step.make_train_step`, with shapes instead of
arrays.
"""

import contextlib
import dataclasses
import re
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.data import pipeline
from clef_jax.errors import UserError
from clef_jax.machine import use_platform
from clef_jax.planning import topology as topology_lib
from clef_jax.planning.topology import Topology
from clef_jax.training import schedule, state as state_lib, step as step_lib

NUM_PATIENTS = 161_352
"""Number of patients of MIMIC-IV-ECG, which is the length of an epoch."""

_COHORT = np.linspace(0, 0.5, 101)
"""Placeholder for a data set's risk quantiles; no cost depends on their values."""

_TOO_LARGE = (
    # Each matches the required and the available memory.
    re.compile(r"\(([\d.]+)([KMG])\) exceeds available HBM \(([\d.]+)([KMG])\)"),
    re.compile(r"Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm"),
)
_UNIT_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclasses.dataclass(frozen=True)
class Step:
    """A lowered training step."""

    trainer: state_lib.Trainer
    state: state_lib.TrainState
    """Abstract state."""
    batch: dict[str, jax.ShapeDtypeStruct]
    """Abstract batch."""
    constants: step_lib.Constants
    """Abstract constants."""
    lowered: jax.stages.Lowered


@dataclasses.dataclass(frozen=True)
class TooLarge:
    """The compiler's rejection of a step that does not fit the device's memory."""

    message: str
    required_bytes: int | None
    """Memory that the step needs; None if the message does not state it."""
    available_bytes: int | None
    """Memory that a program can use; None if the message does not state it."""


def lower(config: TrainConfig, topology: Topology, sample_rate_hz: float) -> Step:
    """Lowers the training step of a run for a machine.

    Args:
        config: settings of the run.
        topology: the machine.
        sample_rate_hz: sampling rate of the signals in Hz.

    Raises:
        UserError: the batch does not split evenly over the devices, the machine is unavailable, or
            the objective needs labels.
    """
    mesh = topology_lib.make_mesh(topology)
    return lower_for(
        config,
        mesh,
        topology.chip.platform,
        sample_rate_hz,
        has_compiler=topology.has_compiler,
    )


def lower_for(
    config: TrainConfig,
    mesh: Mesh,
    platform: str,
    sample_rate_hz: float,
    *,
    has_compiler: bool = True,
) -> Step:
    """Lowers the training step of a run for the devices of a mesh.

    Args:
        config: settings of the run.
        mesh: the devices.
        platform: their platform.
        sample_rate_hz: sampling rate of the signals in Hz.
        has_compiler: whether this machine can compile for them; otherwise they are GPUs.

    Raises:
        UserError: as `lower`.
    """
    mesh_lib.check_batch_size(config.global_batch_size, mesh, config.num_microbatches)
    steps_per_epoch = max(1, NUM_PATIENTS // config.global_batch_size)
    rate = schedule.make(
        config,
        steps_per_epoch=steps_per_epoch,
        total_steps=config.total_steps(steps_per_epoch),
    )
    if config.label_names:
        raise UserError(
            f"--objective={config.objective} needs the labels {', '.join(config.label_names)}, and "
            "a plan has no data set. Plan another objective: the encoder's cost is the same.",
            problem="plan_needs_labels",
        )
    trainer = state_lib.make_trainer(
        config,
        rate,
        mesh,
        cohort=_COHORT,
        platform=platform,
        num_steps=config.total_steps(steps_per_epoch),
    )
    arguments = abstract_arguments(trainer, sample_rate_hz)
    traced = step_lib.make_train_step(trainer).trace(*arguments)
    lowered = traced.lower() if has_compiler else traced.lower(lowering_platforms=("cuda",))
    return Step(trainer, *arguments, lowered)


def abstract_arguments(
    trainer: state_lib.Trainer, sample_rate_hz: float
) -> tuple[state_lib.TrainState, dict[str, jax.ShapeDtypeStruct], step_lib.Constants]:
    """Returns shapes, types and shardings of the arguments of the training step.

    Only the constants are computed, on this machine, for any mesh.
    """
    config, mesh = trainer.config, trainer.mesh
    constants = step_lib.load_constants(config, sample_rate_hz)
    patients = (config.global_batch_size,)
    views = (*patients, pipeline.VIEWS)
    fields = {
        "adc": ((*views, constants.bandpass.num_samples), jnp.int16),
        "gain_per_mv": (views, jnp.float32),
        "baseline": (views, jnp.int32),
        "lead": (views, jnp.int32),
        "risk": (patients, jnp.float32),
        "completeness": (patients, jnp.float32),
    }
    rows, everywhere = mesh_lib.rows(mesh), mesh_lib.everywhere(mesh)
    return (
        state_lib.abstract_state(trainer),
        {
            name: jax.ShapeDtypeStruct(shape, dtype, sharding=rows)
            for name, (shape, dtype) in fields.items()
        },
        jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), constants
        ),
    )


def timed_lower(
    config: TrainConfig, topology: Topology, sample_rate_hz: float
) -> tuple[Step, float]:
    """Returns the step from `lower`, and the seconds that lowering took."""
    start = time.perf_counter()
    step = lower(config, topology, sample_rate_hz)
    return step, time.perf_counter() - start


def compile_step(
    step: Step, compiler_options: dict[str, Any] | None = None, *, is_present: bool = False
) -> tuple[jax.stages.Compiled | TooLarge, float]:
    """Returns the compiled step, or why it does not fit, and the seconds that compilation took.

    Args:
        step: the lowered step.
        compiler_options: options of the compiler.
        is_present: whether its devices are present, so that the compilation cache can keep it.
    """
    start = time.perf_counter()
    try:
        with contextlib.ExitStack() as stack:
            if step.trainer.platform != "cpu" and not is_present:
                stack.enter_context(_without_cache())
            result = step.lowered.compile(compiler_options)  # pyright: ignore[reportArgumentType]
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        result = too_large(str(error))
    return result, time.perf_counter() - start


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Disables the compilation cache, from which a step for an absent machine cannot be loaded."""
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # otherwise JAX ignores the changed setting
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def too_large(message: str) -> TooLarge:
    """Reads required and available memory from the compiler's error message."""
    for pattern in _TOO_LARGE:
        if match := pattern.search(message):
            required = float(match[1]) * _UNIT_BYTES[match[2]]
            available = float(match[3]) * _UNIT_BYTES[match[4]]
            return TooLarge(message.splitlines()[0], round(required), round(available))
    return TooLarge(message.splitlines()[0], None, None)


def saved_activations(step: Step) -> int:
    """Returns the bytes that the encoder stores for its backward pass on one device, as traced.

    Only one microbatch counts. A compiler that recomputes elementwise operations stores less.
    """
    num_views, num_samples = step.batch["adc"].shape[1:]
    config = step.trainer.config
    num_microbatches = step.trainer.mesh.size * config.num_microbatches
    rows = config.global_batch_size * num_views // num_microbatches

    def backward(params: Any, signal: jax.Array) -> Any:
        with use_platform(step.trainer.platform):
            return jax.vjp(lambda p: nnx.merge(step.trainer.graph, p)(signal), params)[1]

    def stored_bytes(rows: int) -> int:
        signal = jax.ShapeDtypeStruct((rows, num_samples, 1), jnp.float32)
        stored = jax.tree.leaves(jax.eval_shape(backward, step.state.params, signal))
        return sum(x.size * x.dtype.itemsize for x in stored)

    # The difference excludes the kernels, which are stored too but do not grow with the rows.
    return rows * (stored_bytes(2) - stored_bytes(1))
