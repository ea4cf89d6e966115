"""What a device's memory holds during a step, whether it fits, and what to change if not."""

import dataclasses
import math
from typing import Any

import jax

from clef_jax.chip import Chip
from clef_jax.config import TrainConfig
from clef_jax.planning import step as step_lib

_USABLE = 0.9
"""Share of a GPU's memory that a program gets; driver, libraries and gaps take the rest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device. What could not be known is None."""

    parameters_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    constants_bytes: int
    """Filter and noise."""
    arguments_bytes: int | None = None
    """All of the above as the compiler lays them out, with padding."""
    outputs_bytes: int | None = None
    """New state and metrics that do not take the old state's place."""
    temporaries_bytes: int | None = None
    """Activations, gradients and what else lives within a step."""
    code_bytes: int | None = None
    available_bytes: int | None = None
    """Of the device, for a program."""
    refused_bytes: int | None = None
    """What the step would have needed; only where the compiler refused it."""
    fits: bool | None = None

    @property
    def total_bytes(self) -> int | None:
        """All that a step needs at its peak."""
        if self.refused_bytes is not None:
            return self.refused_bytes
        if self.arguments_bytes is None or self.temporaries_bytes is None:
            return None
        others = (self.outputs_bytes or 0) + (self.code_bytes or 0)
        return self.arguments_bytes + self.temporaries_bytes + others


def device_bytes(tree) -> int:
    """Bytes of one device's shares of the abstract arrays of a tree, without padding."""
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


def of_compiled(
    step: step_lib.Step, compiled: jax.stages.Compiled | step_lib.TooLarge, chip: Chip
) -> Memory:
    """As the compiler planned it, or why it refused."""
    if isinstance(compiled, step_lib.TooLarge):
        available = compiled.available_bytes or chip.memory_bytes
        return Memory(
            **_by_shape(step),
            available_bytes=available,
            refused_bytes=compiled.asked_bytes,
            fits=False,
        )
    found = compiled.memory_analysis()
    if found is None:
        return Memory(**_by_shape(step))
    memory = Memory(
        **_by_shape(step),
        arguments_bytes=found.argument_size_in_bytes,
        outputs_bytes=found.output_size_in_bytes - found.alias_size_in_bytes,
        temporaries_bytes=found.temp_size_in_bytes,
        code_bytes=found.generated_code_size_in_bytes,
        available_bytes=chip.memory_bytes,
    )
    return _judged(memory)


def of_traced(step: step_lib.Step, chip: Chip) -> Memory:
    """Without a compiler: what the step must hold by its shapes, if every activation that the
    backward pass reads is stored; gradients count as temporaries."""
    shapes = _by_shape(step)
    memory = Memory(
        **shapes,
        arguments_bytes=sum(shapes.values()),
        outputs_bytes=0,
        temporaries_bytes=shapes["parameters_bytes"] + step_lib.saved_activations(step),
        available_bytes=None if chip.memory_bytes is None else int(_USABLE * chip.memory_bytes),
    )
    return _judged(memory)


def _judged(memory: Memory) -> Memory:
    total, available = memory.total_bytes, memory.available_bytes
    if total is None or available is None:
        return memory
    return dataclasses.replace(memory, fits=total <= available)


def advice(config: TrainConfig, dtype: str, memory: Memory, num_devices: int) -> list[str]:
    """What to change, best first, when a step does not fit; nothing when it does."""
    if memory.fits is not False:
        return []
    found = []
    if dtype != "bfloat16":
        found.append("--precision=bfloat16 halves the activations.")
    if not config.remat:
        found.append("--remat keeps one array per block instead of all, for a third more time.")
    found += _parts(config, memory, num_devices)
    if num_devices > 1 and not config.shard_optimizer:
        found.append("--shard-optimizer divides the state of the optimiser over the devices.")
    # The loss is streamed by itself as soon as its similarities would be large.
    return found


def _parts(config: TrainConfig, memory: Memory, num_devices: int) -> list[str]:
    """The same batch in parts, or a smaller one."""
    rows = config.global_batch_size // num_devices
    if rows <= config.num_microbatches:
        return ["More devices do not help: one patient at a time is the least there is."]
    total, available = memory.total_bytes, memory.available_bytes
    fixed = memory.parameters_bytes + memory.optimizer_bytes + memory.constants_bytes
    share = 0.5
    if total and available and total > fixed:
        share = min(0.9, max(0.0, available - fixed) / (total - fixed))
    smaller = max(1, math.floor(rows / config.num_microbatches * share))
    parts = next(n for n in range(-(-rows // smaller), rows + 1) if not rows % n)
    batch = smaller * config.num_microbatches * num_devices
    return [
        f"--num-microbatches={parts} may fit, by proportion: it encodes the batch in parts, for a "
        "third more time and the same result.",
        f"--global-batch-size={batch} may fit, by proportion; --search-batch finds the largest.",
    ]
