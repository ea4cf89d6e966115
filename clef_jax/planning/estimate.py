"""Estimates memory, work, collectives and time of a training step on a machine."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from clef_jax import machine
from clef_jax.config import TrainConfig
from clef_jax.models import cost, size as size_lib
from clef_jax.planning import (
    autotune_results as autotune_lib,
    gpu_program,
    gpu_target,
    hlo,
    memory as memory_lib,
    mlir,
    roofline as roofline_lib,
    step as step_lib,
)
from clef_jax.planning.gpu_program import GpuProgram
from clef_jax.planning.hlo import Collective, Operation
from clef_jax.planning.memory import Memory
from clef_jax.planning.roofline import Roofline
from clef_jax.planning.topology import Topology

NUM_EPOCHS = 100
"""Length of the training run whose time is estimated."""
NUM_COSTLIEST = 10
"""Operations that a plan lists."""

_SCALARS_BYTES = 1024
"""Allowance for the scalars that share a collective with the embeddings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimate of one step, per device unless stated otherwise; None where unknown."""

    size: str
    topology: Topology
    global_batch_size: int
    precision: str
    remat: bool
    own_kernels: bool
    num_microbatches: int
    shard_optimizer: bool
    objective: str
    memory: Memory
    advice: tuple[str, ...]
    """Changes to try if the step does not fit."""
    model_flops: int
    """FLOPs of network and loss per device and step, counted from shapes."""
    compiled_flops: float | None
    """FLOPs that the compiler counts: with the zeros of dense kernels, and each loop once."""
    least_bytes: int
    """Memory traffic if every operation read its input and wrote its output once."""
    compiled_bytes: float | None
    """Bytes of operands and results that the compiler counts, including on-chip memory."""
    collectives: tuple[Collective, ...]
    embeddings_bytes: int
    """Bytes of the gathered float32 embeddings of both views of all patients."""
    num_unknown_loops: int
    """Loops with an unknown number of iterations; they are counted once."""
    roofline: Roofline
    estimated_cycles: int | None
    """The compiler's estimate of a step without its collectives."""
    costliest: tuple[Operation, ...]
    """Operations with the most cycles, most first; empty for GPUs."""
    gpu: GpuProgram | None
    """Kernels, traffic and times of the step that the GPU compiler made; None if there is none."""
    gpu_seconds: dict[str, float | None]
    """The compiler's estimate of a step by each library of products; `gpu` is the fastest."""
    lower_seconds: float
    """Time that lowering the step took."""
    compile_seconds: float | None
    """Time that compilation took; None if no compiler is available."""

    @property
    def rows(self) -> int:
        """Patients on one device."""
        return self.global_batch_size // self.topology.num_devices

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs of network and loss per byte of the least memory traffic."""
        return self.model_flops / self.least_bytes

    @property
    def is_known(self) -> bool:
        """Whether the step can run; without that no time is estimated."""
        return self.memory.refused_bytes is None and self.memory.fits is not False

    @property
    def compiler_seconds(self) -> float | None:
        """The compiler's estimate of the time of a step without its collectives."""
        clock_hz = self.topology.chip.clock_hz
        if not self.estimated_cycles or clock_hz is None:
            return None
        return self.estimated_cycles / clock_hz

    @property
    def step_seconds(self) -> float | None:
        """The compiler's estimate plus the collectives; the roofline if no estimate exists."""
        if not self.is_known:
            return None
        if self.gpu is not None and self.gpu.seconds is not None:
            return self.gpu.seconds
        if self.compiler_seconds is None:
            return self.roofline.seconds
        exchange_seconds = self.roofline.exchange_seconds
        return None if exchange_seconds is None else self.compiler_seconds + exchange_seconds

    @property
    def step_seconds_source(self) -> str:
        """Source of `step_seconds`: `gpu-compiler`, `compiler` or `roofline`."""
        if self.gpu is not None and self.gpu.seconds is not None:
            return "gpu-compiler"
        return "roofline" if self.compiler_seconds is None else "compiler"

    @property
    def pairs_per_second(self) -> float | None:
        """Patients per second of the whole machine; each gives a pair of views."""
        return self.global_batch_size / self.step_seconds if self.step_seconds else None

    @property
    def hours(self) -> float | None:
        """Time of 100 epochs over all patients of MIMIC-IV-ECG."""
        if self.step_seconds is None:
            return None
        steps = step_lib.NUM_PATIENTS // self.global_batch_size * NUM_EPOCHS
        return steps * self.step_seconds / 3600

    @property
    def model_flops_utilization(self) -> float | None:
        """Fraction of the chip's peak that `model_flops` reach in `step_seconds`."""
        peak = self.topology.chip.peak_flops_per_second
        if peak is None or not self.step_seconds:
            return None
        return self.model_flops / peak / self.step_seconds

    @property
    def roofline_share(self) -> float | None:
        """Fraction of the roofline's speed that the step reaches, at most 1."""
        if self.step_seconds_source == "roofline" or self.roofline.seconds is None:
            return None
        if not self.step_seconds:
            return None
        return (self.roofline.seconds or 0.0) / self.step_seconds

    @property
    def too_large_collectives(self) -> list[Collective]:
        """Collectives that move more data than data parallelism needs, such as a batch of signals.

        An all-reduce may be as large as the gradients, any other collective as large as the
        embeddings of the batch. A sharded optimiser also gathers parameters, which are as large as
        the gradients.
        """
        gradients = max(self.memory.parameters_bytes, self.embeddings_bytes)
        of_parameters = ("all-reduce", "all-gather") if self.shard_optimizer else ("all-reduce",)
        return [
            x
            for x in self.collectives
            if x.num_bytes
            > (gradients if x.kind in of_parameters else self.embeddings_bytes) + _SCALARS_BYTES
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns all fields and derived figures as JSON values."""
        derived = ("rows", "arithmetic_intensity", "compiler_seconds", "step_seconds")
        derived += (
            "step_seconds_source",
            "pairs_per_second",
            "hours",
            "model_flops_utilization",
            "roofline_share",
        )
        values = dataclasses.asdict(self) | {name: getattr(self, name) for name in derived}
        values["memory"]["total_bytes"] = self.memory.total_bytes
        if self.gpu is not None:
            values["gpu"]["seconds"] = self.gpu.seconds
        values["roofline"] |= {"seconds": self.roofline.seconds, "bound": self.roofline.bound}
        values["num_too_large_collectives"] = len(self.too_large_collectives)
        return values


def make(
    config: TrainConfig,
    topology: Topology,
    sample_rate_hz: float = 500.0,
    autotune_results: pathlib.Path | None = None,
) -> Plan:
    """Lowers the training step for a machine, compiles it if possible, and returns its plan.

    Args:
        config: settings of the run.
        topology: the machine.
        sample_rate_hz: sampling rate of the prepared data set in Hz.
        autotune_results: kernels that a real GPU chose; see `autotune_results`.

    Raises:
        UserError: the batch does not split evenly over the devices, the machine is unavailable, or
            the kernels are those of another GPU.
    """
    step, lower_seconds = step_lib.timed_lower(config, topology, sample_rate_hz)
    compiled, compile_seconds, readings = None, None, []
    if topology.has_compiler and topology.chip.platform == "gpu":
        compiled, readings, compile_seconds = _compile_for_gpu(
            step, topology, sample_rate_hz, autotune_results
        )
    elif topology.has_compiler:
        compiled, compile_seconds = step_lib.compile_step(step)
    program, flops, num_bytes = _program(step, compiled)
    if compiled is None:
        memory = memory_lib.from_trace(step, topology.chip)
    else:
        memory = memory_lib.from_compiled(step, compiled, topology.chip)
    dtype = machine.compute_dtype(config.precision, topology.chip.platform)
    work = _work(config, topology, step.batch["adc"].shape[-1], dtype.itemsize)
    return Plan(
        size=config.size,
        topology=topology,
        global_batch_size=config.global_batch_size,
        precision=dtype.name,
        remat=bool(config.remat),
        own_kernels=config.own_kernels and topology.chip.platform == "gpu",
        num_microbatches=config.num_microbatches,
        shard_optimizer=config.shard_optimizer,
        objective=config.objective,
        memory=memory,
        advice=tuple(memory_lib.advice(config, dtype.name, memory, topology.num_devices)),
        **work,
        roofline=roofline_lib.make(topology, **work, collectives=program.collectives),
        compiled_flops=flops,
        compiled_bytes=num_bytes,
        collectives=program.collectives,
        embeddings_bytes=_embeddings_bytes(config),
        num_unknown_loops=program.num_unknown_loops,
        estimated_cycles=program.estimated_cycles or None,
        costliest=() if readings else tuple(program.costliest(NUM_COSTLIEST)),
        gpu=readings[0] if readings else None,
        gpu_seconds={reading.products: reading.seconds for reading in readings},
        lower_seconds=lower_seconds,
        compile_seconds=compile_seconds,
    )


def _compile_for_gpu(
    step: step_lib.Step,
    topology: Topology,
    sample_rate_hz: float,
    autotuned: pathlib.Path | None,
) -> tuple[jax.stages.Compiled | step_lib.TooLarge, list[GpuProgram], float]:
    """Compiles a step with each library of products, or with the choices of a real GPU.

    Biases are inside the products of Triton, unless the settings have them there anyway.

    Returns:
        The fastest step by estimate, all readings, the fastest first, and the time that compilation
        took.
    """
    chip, seconds = topology.chip, 0.0
    made = []
    variants: dict[str, dict[str, Any]] = {**gpu_target.compiler_options(chip.name)}
    if autotuned is not None:
        variants = {"autotuned": {autotune_lib.COMPILER_OPTION: str(autotuned)}}
    for products, options in variants.items():
        form, config = step, step.trainer.config
        if products == gpu_target.TRITON and not config.bias_in_product:
            config = dataclasses.replace(config, bias_in_product=True)
            form = step_lib.lower(config, topology, sample_rate_hz)
        compiled, taken = step_lib.compile_step(form, options)
        seconds += taken
        if isinstance(compiled, step_lib.TooLarge):
            return compiled, [], seconds
        text = compiled.as_text() or ""
        program = gpu_program.read(text, chip, products=products, num_costliest=NUM_COSTLIEST)
        made.append((program, compiled))
    made.sort(key=lambda x: x[0].seconds or 0.0)
    return made[0][1], [program for program, _ in made], seconds


def _work(
    config: TrainConfig, topology: Topology, num_samples: int, value_bytes: int
) -> dict[str, int]:
    """Returns FLOPs and least memory traffic per device and step, counted from shapes."""
    size, batch = size_lib.by_name(config.size), config.global_batch_size
    rows = batch // topology.num_devices
    flops = cost.model_flops(size, num_samples, rows, batch)
    least_bytes = roofline_lib.least_bytes(size, num_samples, rows, value_bytes)
    return {"model_flops": flops, "least_bytes": least_bytes}


def _embeddings_bytes(config: TrainConfig) -> int:
    width = size_lib.by_name(config.size).embedding_width
    return cost.VIEWS * config.global_batch_size * width * np.dtype(np.float32).itemsize


def _program(
    step: step_lib.Step, compiled: jax.stages.Compiled | step_lib.TooLarge | None
) -> tuple[hlo.Program, float | None, float | None]:
    """Returns the program, its FLOPs and its memory traffic.

    FLOPs and traffic are None if nothing was compiled.
    """
    if not isinstance(compiled, jax.stages.Compiled):
        return hlo.Program((), mlir.collectives(step.lowered), 0), None, None
    counted = (step.trainer.platform != "gpu" and compiled.cost_analysis()) or {}
    text = compiled.as_text() or ""
    return hlo.read(text), counted.get("flops"), counted.get("bytes accessed")
