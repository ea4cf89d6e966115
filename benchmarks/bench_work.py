"""Computes pairs per second, utilisation and fraction of the roofline of a timed step."""

import dataclasses
import statistics
from typing import Any

from clef_jax.chip import CHIPS, Chip
from clef_jax.models import cost, size as size_lib
from clef_jax.planning import roofline as roofline_lib
from clef_jax.planning.topology import Topology

TARGET_CHIP, TARGET_UTILIZATION = "h100", 0.3
"""Chip that the input pipeline should supply with pairs, and the fraction of its peak."""

_VALUE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFigures:
    """Figures of a training step; None where they need an unknown rate of the chip."""

    size: str
    precision: str
    global_batch_size: int
    conv_choices: str
    own_kernels: bool
    """Whether the kernels of this package were used."""
    step_seconds: float
    """Median time of a step."""
    least_step_seconds: float
    most_step_seconds: float
    num_steps: int
    pairs_per_second: float
    model_flops_per_second: float
    """Operations of network and loss, counted from shapes, per second on all devices."""
    model_flops_utilization: float | None
    roofline_seconds: float | None
    """Shortest time of a step by operations and memory traffic of a device, without collectives."""
    roofline_bound: str | None
    roofline_share: float | None
    compile_seconds: float
    peak_bytes: int | None
    planned_bytes: int | None
    available_bytes: int | None


def figures(
    outcome: dict[str, Any],
    *,
    size: str,
    global_batch_size: int,
    num_samples: int,
    conv_choices: str,
    chip: Chip | None,
    own_kernels: bool = False,
) -> StepFigures:
    """Returns the figures of a step that fits, from the outcome of its process.

    Args:
        outcome: `bench_step.Outcome` as a dict.
        chip: the chip, if it is known.
        own_kernels: whether the kernels of this package were used.
    """
    num_devices, precision = outcome["machine"]["num_devices"], outcome["precision"]
    rows, spec = global_batch_size // num_devices, size_lib.by_name(size)
    flops = cost.model_flops(spec, num_samples, rows, global_batch_size)
    seconds = statistics.median(outcome["step_seconds"])
    least_bytes = roofline_lib.least_bytes(spec, num_samples, rows, _VALUE_BYTES[precision])
    # A single device: its collectives are unknown without the compiled program.
    alone = Topology("", chip or CHIPS["cpu"], 1)
    roofline = roofline_lib.make(alone, flops, least_bytes, collectives=())
    peak = alone.chip.peak_flops_per_second
    return StepFigures(
        size=size,
        precision=precision,
        global_batch_size=global_batch_size,
        conv_choices=conv_choices,
        own_kernels=own_kernels,
        step_seconds=seconds,
        least_step_seconds=min(outcome["step_seconds"]),
        most_step_seconds=max(outcome["step_seconds"]),
        num_steps=len(outcome["step_seconds"]),
        pairs_per_second=global_batch_size / seconds,
        model_flops_per_second=flops * num_devices / seconds,
        model_flops_utilization=None if peak is None else flops / peak / seconds,
        roofline_seconds=roofline.seconds,
        roofline_bound=roofline.bound,
        roofline_share=None if roofline.seconds is None else roofline.seconds / seconds,
        compile_seconds=outcome["compile_seconds"],
        peak_bytes=outcome["peak_bytes"],
        planned_bytes=outcome["planned_bytes"],
        available_bytes=outcome["available_bytes"],
    )


def required_pairs_per_second(size: str, num_samples: int) -> float:
    """Returns the pairs per second of the target chip at its target utilisation.

    Assumes that operations alone limit the chip.
    """
    peak = CHIPS[TARGET_CHIP].peak_flops_per_second
    assert peak is not None
    spec = size_lib.by_name(size)
    return TARGET_UTILIZATION * peak / cost.encoder_flops(spec, num_samples, rows=1)
