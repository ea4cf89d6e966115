"""Estimates a device's memory during a step, whether it fits, and what to change otherwise."""

import dataclasses
import math
import os
from typing import Any

import jax

from clef_jax.chip import Chip
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError
from clef_jax.planning import step as step_lib

MEMORY_FRACTION_VARIABLE = "XLA_PYTHON_CLIENT_MEM_FRACTION"
_DEFAULT_GPU_FRACTION = 0.75
"""Fraction of a GPU's memory that a JAX process reserves unless the variable states another."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device; None where unknown."""

    parameters_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    constants_bytes: int
    """Band-pass filter and noise recordings."""
    arguments_bytes: int | None = None
    """All of the above in the compiler's layout, with padding."""
    outputs_bytes: int | None = None
    """New state and metrics that do not reuse the memory of the old state."""
    temporaries_bytes: int | None = None
    """Activations, gradients and other arrays that exist only during a step."""
    code_bytes: int | None = None
    available_bytes: int | None = None
    """Memory of the device that a program can use."""
    refused_bytes: int | None = None
    """Memory that a step needs which the compiler rejected; None for other steps."""
    fits: bool | None = None

    @property
    def total_bytes(self) -> int | None:
        """Peak memory of a step; None if unknown."""
        if self.refused_bytes is not None:
            return self.refused_bytes
        if self.arguments_bytes is None or self.temporaries_bytes is None:
            return None
        others = (self.outputs_bytes or 0) + (self.code_bytes or 0)
        return self.arguments_bytes + self.temporaries_bytes + others


def device_bytes(tree) -> int:
    """Returns the bytes of one device's shards of a tree of abstract arrays, without padding."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def _by_shape(step: step_lib.Step) -> dict[str, Any]:
    state = step.state
    return {
        "parameters_bytes": device_bytes(state.params),
        "optimizer_bytes": device_bytes(state.opt_state),
        "batch_bytes": device_bytes(step.batch),
        "constants_bytes": device_bytes(step.constants),
    }


def from_compiled(
    step: step_lib.Step,
    compiled: jax.stages.Compiled | step_lib.TooLarge,
    chip: Chip,
    available: int | None = None,
) -> Memory:
    """Returns the memory that the compiler allocates, or that it rejected as too much.

    `available` is the memory that a program can use, by default that of the chip.
    """
    if isinstance(compiled, step_lib.TooLarge):
        available = compiled.available_bytes or available or chip.memory_bytes
        return Memory(
            **_by_shape(step),
            available_bytes=available,
            refused_bytes=compiled.required_bytes,
            fits=False,
        )
    analysis = compiled.memory_analysis()
    if analysis is None:
        return Memory(**_by_shape(step))
    memory = Memory(
        **_by_shape(step),
        arguments_bytes=analysis.argument_size_in_bytes,
        outputs_bytes=analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        temporaries_bytes=analysis.temp_size_in_bytes,
        code_bytes=analysis.generated_code_size_in_bytes,
        available_bytes=available or available_bytes(chip),
    )
    return _with_fit(memory)


def available_bytes(chip: Chip) -> int | None:
    """Returns the memory of a device that a JAX process has; None if the chip's is unknown.

    Raises:
        UserError: the variable of the fraction is set and no number above 0 and at most 1.
    """
    if chip.platform != "gpu" or chip.memory_bytes is None:
        return chip.memory_bytes
    stated = os.environ.get(MEMORY_FRACTION_VARIABLE) or str(_DEFAULT_GPU_FRACTION)
    try:
        fraction = float(stated)
    except ValueError:
        fraction = math.nan
    if not 0 < fraction <= 1:
        raise UserError(
            f"The environment variable {MEMORY_FRACTION_VARIABLE} is {stated!r}; it must be a "
            "number above 0 and at most 1.",
            problem="memory_fraction",
        )
    return int(fraction * chip.memory_bytes)


def from_trace(step: step_lib.Step, chip: Chip, available: int | None = None) -> Memory:
    """Estimates memory from shapes, without a compiler; `available` is as in `from_compiled`.

    All activations that the backward pass reads are assumed to be stored. Gradients count as
    temporaries.
    """
    shapes = _by_shape(step)
    memory = Memory(
        **shapes,
        arguments_bytes=sum(shapes.values()),
        outputs_bytes=0,
        temporaries_bytes=shapes["parameters_bytes"] + step_lib.saved_activations(step),
        available_bytes=available or available_bytes(chip),
    )
    return _with_fit(memory)


def _with_fit(memory: Memory) -> Memory:
    """Sets whether the step fits the device, if that is known."""
    total, available = memory.total_bytes, memory.available_bytes
    if total is None or available is None:
        return memory
    return dataclasses.replace(memory, fits=total <= available)


def advice(config: TrainConfig, dtype: str, memory: Memory, num_devices: int) -> list[str]:
    """Returns changes to try, best first, if a step does not fit; an empty list if it fits."""
    if memory.fits is not False:
        return []
    lines = []
    if dtype != "bfloat16":
        lines.append("--precision=bfloat16 halves the activations.")
    if not config.remat:
        lines.append("--remat keeps one array per block instead of all, for a third more time.")
    lines += _batch_advice(config, memory, num_devices)
    if num_devices > 1 and not config.shard_optimizer:
        lines.append("--shard-optimizer splits the state of the optimiser over the devices.")
    # The loss needs no setting: it computes its similarities in blocks once they are large.
    return lines


def _batch_advice(config: TrainConfig, memory: Memory, num_devices: int) -> list[str]:
    """Returns a number of microbatches and a smaller batch that may fit."""
    rows = config.global_batch_size // num_devices
    if rows <= config.num_microbatches:
        return ["More devices do not help: a device already encodes one patient at a time."]
    total, available = memory.total_bytes, memory.available_bytes
    fixed = memory.parameters_bytes + memory.optimizer_bytes + memory.constants_bytes
    fraction = 0.5
    if total and available and total > fixed:
        fraction = min(0.9, max(0.0, available - fixed) / (total - fixed))
    smaller = max(1, math.floor(rows / config.num_microbatches * fraction))
    num_microbatches = next(n for n in range(-(-rows // smaller), rows + 1) if not rows % n)
    batch = smaller * config.num_microbatches * num_devices
    return [
        f"--num-microbatches={num_microbatches} may fit, by proportion: it encodes one microbatch "
        "at a time, with the same result in a third more time.",
        f"--global-batch-size={batch} may fit, by proportion; --search-batch finds the largest.",
    ]
