"""A plan: all that is known of one run's step on one machine before it exists."""

import dataclasses
from typing import Any

import jax
import numpy as np

from clef_jax import machine
from clef_jax.config import TrainConfig
from clef_jax.models import cost, size as size_lib
from clef_jax.planning import (
    hlo,
    memory as memory_lib,
    mlir,
    roofline as roofline_lib,
    step as step_lib,
)
from clef_jax.planning.hlo import Collective, Operation
from clef_jax.planning.memory import Memory
from clef_jax.planning.roofline import Roofline
from clef_jax.planning.topology import Topology

NUM_EPOCHS = 100
NUM_COSTLIEST = 10

_SCALARS_BYTES = 1024
"""A few scalars travel along in the same exchange."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Figures are per device and step unless they say otherwise; unknown ones are None."""

    size: str
    topology: Topology
    global_batch_size: int
    precision: str
    remat: bool
    num_microbatches: int
    shard_optimizer: bool
    objective: str
    memory: Memory
    advice: tuple[str, ...]
    """What to change if the step does not fit."""
    model_flops: int
    """Of the network and the loss themselves, counted from shapes."""
    compiled_flops: float | None
    """As the compiler counts them: with the zeros of dense forms, and loops once."""
    least_bytes: int
    """Memory traffic if every layer read its input and wrote its output once."""
    compiled_bytes: float | None
    """Operands and results as the compiler counts them, also those in the memory on the chip."""
    collectives: tuple[Collective, ...]
    embeddings_bytes: int
    """Of both views of all patients, gathered, in float32."""
    num_unknown_loops: int
    roofline: Roofline
    estimated_cycles: int | None
    costliest: tuple[Operation, ...]
    lower_seconds: float
    compile_seconds: float | None

    @property
    def rows(self) -> int:
        """Patients on one device."""
        return self.global_batch_size // self.topology.num_devices

    @property
    def arithmetic_intensity(self) -> float:
        """Operations of the network and the loss per byte of the least memory traffic."""
        return self.model_flops / self.least_bytes

    @property
    def is_known(self) -> bool:
        """Whether there is a step: a compiler that refuses it leaves nothing to time."""
        return self.memory.refused_bytes is None and self.memory.fits is not False

    @property
    def compiler_seconds(self) -> float | None:
        """The compiler's estimate of everything but exchanges, for which it has none."""
        clock_hz = self.topology.chip.clock_hz
        if not self.estimated_cycles or clock_hz is None:
            return None
        return self.estimated_cycles / clock_hz

    @property
    def step_seconds(self) -> float | None:
        """The compiler's estimate and the exchanges after it; without one, the roofline."""
        if not self.is_known:
            return None
        if self.compiler_seconds is None:
            return self.roofline.seconds
        exchange_seconds = self.roofline.exchange_seconds
        return None if exchange_seconds is None else self.compiler_seconds + exchange_seconds

    @property
    def pairs_per_second(self) -> float | None:
        """Of the whole machine."""
        return self.global_batch_size / self.step_seconds if self.step_seconds else None

    @property
    def hours(self) -> float | None:
        """Of 100 epochs of all patients of MIMIC-IV-ECG."""
        if self.step_seconds is None:
            return None
        steps = step_lib.NUM_PATIENTS // self.global_batch_size * NUM_EPOCHS
        return steps * self.step_seconds / 3600

    @property
    def model_flops_utilization(self) -> float | None:
        """Share of the chip's peak that the network's own operations reach in `step_seconds`."""
        peak = self.topology.chip.peak_flops_per_second
        if peak is None or not self.step_seconds:
            return None
        return self.model_flops / peak / self.step_seconds

    @property
    def roofline_share(self) -> float | None:
        """How much of the roofline's speed the step reaches; 1 is the most there can be."""
        if None in (self.compiler_seconds, self.roofline.seconds) or not self.step_seconds:
            return None
        return (self.roofline.seconds or 0.0) / self.step_seconds

    @property
    def too_large_collectives(self) -> list[Collective]:
        """Sums that are larger than the gradients, and other exchanges larger than the embeddings
        of the batch; a batch of signals would be one. What a sharded optimiser gathers are
        parameters, which are as large as the gradients."""
        gradients = max(self.memory.parameters_bytes, self.embeddings_bytes)
        of_parameters = ("all-reduce", "all-gather") if self.shard_optimizer else ("all-reduce",)
        return [
            x
            for x in self.collectives
            if x.num_bytes
            > (gradients if x.kind in of_parameters else self.embeddings_bytes) + _SCALARS_BYTES
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, derived figures too, as JSON takes it."""
        derived = ("rows", "arithmetic_intensity", "compiler_seconds", "step_seconds")
        derived += ("pairs_per_second", "hours", "model_flops_utilization", "roofline_share")
        found = dataclasses.asdict(self) | {name: getattr(self, name) for name in derived}
        found["memory"]["total_bytes"] = self.memory.total_bytes
        found["roofline"] |= {"seconds": self.roofline.seconds, "bound": self.roofline.bound}
        found["num_too_large_collectives"] = len(self.too_large_collectives)
        return found


def make(config: TrainConfig, topology: Topology, sample_rate_hz: float = 500.0) -> Plan:
    """Lowers the step and, where there is a compiler for the machine, compiles it.

    Raises:
        UserError: the batch does not split over the devices, or the machine cannot be had.
    """
    step, lower_seconds = step_lib.timed_lower(config, topology, sample_rate_hz)
    compiled, compile_seconds = None, None
    if topology.is_compiled_for:
        compiled, compile_seconds = step_lib.compile_step(step)
    program, flops, num_bytes = _program(step, compiled)
    if compiled is None:
        memory = memory_lib.of_traced(step, topology.chip)
    else:
        memory = memory_lib.of_compiled(step, compiled, topology.chip)
    dtype = machine.compute_dtype(config.precision, topology.chip.platform)
    work = _work(config, topology, step.batch["adc"].shape[-1], dtype.itemsize)
    return Plan(
        size=config.size,
        topology=topology,
        global_batch_size=config.global_batch_size,
        precision=dtype.name,
        remat=config.remat,
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
        costliest=tuple(program.costliest(NUM_COSTLIEST)),
        lower_seconds=lower_seconds,
        compile_seconds=compile_seconds,
    )


def _work(
    config: TrainConfig, topology: Topology, num_samples: int, value_bytes: int
) -> dict[str, int]:
    """What a device has to do, counted from shapes."""
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
    """What is executed, its operations and its memory traffic; unknown if nothing was compiled."""
    if not isinstance(compiled, jax.stages.Compiled):
        return hlo.Program((), mlir.collectives(step.lowered), 0), None, None
    counted = compiled.cost_analysis() or {}
    text = compiled.as_text() or ""
    return hlo.read(text), counted.get("flops"), counted.get("bytes accessed")
