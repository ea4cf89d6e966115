"""Compares the compiler's estimate of each kernel of a GPU's step with the clock of the GPU.

The clock is that of JAX's profiler, whose events name the instruction of the compiled program that
they belong to. A plan reads the same estimates of the same instructions.
"""

import collections
import gzip
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from clef_jax.chip import Chip
from clef_jax.errors import UserError
from clef_jax.planning import gpu_program, printing

XLA_FLAGS = (
    "--xla_gpu_collect_cost_model_stats=true",  # the estimates are written into the program
    "--xla_gpu_enable_command_buffer=",  # kernels are started one by one, so each has an event
)
NUM_STEPS = 5
"""Steps that are profiled."""
_NUM_SHOWN = 10


def read_trace(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the newest trace that JAX's profiler wrote into a folder.

    Raises:
        UserError: there is none.
    """
    paths = sorted(folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise UserError(f"{folder} has no trace of JAX's profiler.", problem="no_trace")
    with gzip.open(paths[-1], "rt", encoding="utf-8") as file:
        return json.load(file)


def clock(trace: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Returns the number of events of a device and their time in seconds, by the instruction's
    name; means over the devices, which the profiler lists as processes."""
    count: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    devices: dict[str, set[int]] = {}
    for event in trace["traceEvents"]:
        name = (event.get("args") or {}).get("hlo_op")
        if event.get("ph") == "X" and name:
            count[name] += 1
            seconds[name] += event["dur"] / 1e6
            devices.setdefault(name, set()).add(event["pid"])
    return {
        name: (count[name] // len(devices[name]), seconds[name] / len(devices[name]))
        for name in count
    }


def compare(text: str, chip: Chip, trace: Mapping[str, Any], num_steps: int) -> dict[str, Any]:
    """Returns estimates and clock, per step, of all kernels that have both.

    Args:
        text: text of the compiled step, with its estimates.
        chip: the GPU.
        trace: trace of the profiler.
        num_steps: number of steps in the trace.

    Raises:
        UserError: no kernel has both.
    """
    program = gpu_program.read(text, chip, products="measured", num_costliest=1 << 30)
    measured = clock(trace)
    rows = []
    for kernel in program.costliest:
        if kernel.name in measured and kernel.seconds:
            rows.append(
                {
                    "name": kernel.name,
                    "kind": kernel.kind,
                    "scope": printing.scope(kernel.origin),
                    "estimated_us": kernel.times * kernel.seconds * 1e6,
                    "measured_us": measured[kernel.name][1] / num_steps * 1e6,
                }
            )
    if not rows:
        raise UserError(
            "No kernel of the compiled step has both an estimate and an event in the trace.",
            problem="nothing_compared",
        )
    kinds = sorted({row["kind"] for row in rows})
    by_kind = {kind: _sums([row for row in rows if row["kind"] == kind]) for kind in kinds}
    compared = {row["name"] for row in rows}
    rows.sort(key=lambda row: abs(row["measured_us"] - row["estimated_us"]), reverse=True)
    return {
        "num_steps": num_steps,
        "num_kernels": program.num_kernels,
        "num_compared": len(rows),
        "all": _sums(rows),
        "by_kind": by_kind,
        "most_different": rows[:_NUM_SHOWN],
        "measured_without_estimate_us": sum(
            seconds for name, (_, seconds) in measured.items() if name not in compared
        )
        / num_steps
        * 1e6,
    }


def _sums(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the sums of estimates and clock, and the clock divided by the estimate."""
    estimated = sum(row["estimated_us"] for row in rows)
    measured = sum(row["measured_us"] for row in rows)
    return {
        "num_kernels": len(rows),
        "estimated_us": estimated,
        "measured_us": measured,
        "ratio": measured / estimated,
    }
