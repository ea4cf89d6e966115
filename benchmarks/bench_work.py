"""What a timed step comes to: pairs per second, share of the peak, share of the roofline."""

import dataclasses
import statistics
from typing import Any

from clef_jax.chip import CHIPS, Chip
from clef_jax.models import cost, size as size_lib
from clef_jax.planning import roofline as roofline_lib
from clef_jax.planning.topology import Topology

APPETITE_CHIP, APPETITE_SHARE = "h100", 0.3
"""The chip whose hunger for pairs the input pipeline is held to, and the share of its peak."""

_VALUE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFigures:
    """One size's training step; what follows from unknown rates of the chip is None."""

    size: str
    precision: str
    global_batch_size: int
    conv_choices: str
    step_seconds: float
    """Median."""
    least_step_seconds: float
    most_step_seconds: float
    num_steps: int
    pairs_per_second: float
    model_flops_per_second: float
    """Of the network and the loss, counted from shapes; all devices together."""
    model_flops_utilization: float | None
    roofline_seconds: float | None
    """By operations and memory traffic of one device, without exchanges."""
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
) -> StepFigures:
    """The figures of a step that fits, from what its process told (`bench_step.Outcome`)."""
    num_devices, precision = outcome["machine"]["num_devices"], outcome["precision"]
    rows, spec = global_batch_size // num_devices, size_lib.by_name(size)
    flops = cost.model_flops(spec, num_samples, rows, global_batch_size)
    seconds = statistics.median(outcome["step_seconds"])
    least_bytes = roofline_lib.least_bytes(spec, num_samples, rows, _VALUE_BYTES[precision])
    # One device by itself: its exchanges are not known without the compiled program.
    alone = Topology("", chip or CHIPS["cpu"], 1)
    roofline = roofline_lib.make(alone, flops, least_bytes, collectives=())
    peak = alone.chip.peak_flops_per_second
    return StepFigures(
        size=size,
        precision=precision,
        global_batch_size=global_batch_size,
        conv_choices=conv_choices,
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


def appetite(size: str, num_samples: int) -> float:
    """Pairs per second that one chip would take at a good share of its peak, if operations were
    all that binds it."""
    peak = CHIPS[APPETITE_CHIP].peak_flops_per_second
    assert peak is not None
    spec = size_lib.by_name(size)
    return APPETITE_SHARE * peak / cost.encoder_flops(spec, num_samples, rows=1)
