"""The page that shows what `bench.py` measured, made from its JSON files."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from bench_work import APPETITE_CHIP, APPETITE_SHARE

from clef_jax.errors import UserError

VERSION = 1
"""Of the JSON files."""

_GIB = 2**30

_TOP = """\
# Speed of machines

`make bench` measures the machine it runs on in about ten minutes and adds it to these tables; the
figures are in [benchmarks/results](../benchmarks/results). What else is measured is told in
[benchmarks](../benchmarks/README.md). This page is written by `benchmarks/bench.py`.
"""

_STEP = """
## Training step

The whole step of `clef_jax.train`: views made from int16 samples, both encoded, loss of the paper,
gradient, update. The batch lies on the device, so reading is not in it. Medians. Shares are of the
peak rate of dense bfloat16 products, for the operations of network and loss alone, and of the
speed that the roofline allows (operations, or each layer read and written once). What a machine
does not tell stays empty.
"""

_LARGEST = """
## Largest batch that fits

Without recomputing activations and without microbatches; each try is a process of its own. "at
least" where the time was over before the next larger batch was refused.
"""

_TORCH = """
## Beside plain PyTorch

The same encoder with the same plain InfoNCE loss and AdamW, without making views. The frameworks
take turns in one run, with the same threads and precision (bfloat16 is autocast in PyTorch); "times
faster" is the median of the turns, least and most in brackets.
"""

_PIPELINE = f"""
## Input pipeline

From prepared records to host batches, per core of processor time, beside a loader that reads WFDB
files and filters with SciPy. The last columns are the cores that keep one {APPETITE_CHIP.upper()}
fed at {APPETITE_SHARE:.0%} of its peak; memory traffic keeps small encoders from reaching that.
"""

_MACHINES = """
## Machines

"busy before" is the number of cores that other work took in the minute before: times of a machine
that was not idle are too long, and PyTorch's, whose threads wait for each other, most of all.
"""


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """All results in a folder, by the machine's name.

    Raises:
        UserError: a file there is not a result of this version.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        if result.get("version") != VERSION:
            raise UserError(
                f"{path} is of another version: run make bench there again.",
                problem="other_version",
            )
        found.append(result)
    return sorted(found, key=lambda result: result["name"])


def page(results: Sequence[dict[str, Any]]) -> str:
    """The page in Markdown."""
    parts = (
        (_STEP, _step_table(results)),
        (_LARGEST, _largest_table(results)),
        (_TORCH, _torch_table(results)),
        (_PIPELINE, _pipeline_table(results)),
        (_MACHINES, _machine_table(results)),
    )
    return _TOP + "".join(f"{text}\n{table}" for text, table in parts if table)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    lines = [_line(row) for row in rows]
    return "\n".join([_line(columns), "|" + "---|" * len(columns), *lines, ""]) if lines else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_STEP_COLUMNS = (
    *("machine", "size", "precision", "batch", "step, ms", "pairs/s", "TFLOP/s", "of peak"),
    *("of roofline", "memory, GiB", "compiled in, s"),
)


def _step_table(results: Sequence[dict[str, Any]]) -> str:
    rows = [_step_row(one["name"], step) for one in results for step in one.get("steps", ())]
    return table(_STEP_COLUMNS, rows)


def _step_row(name: str, step: dict[str, Any]) -> list[str]:
    # A CPU does not tell what was taken, but the compiler what it planned.
    memory = step["peak_bytes"] or step["planned_bytes"]
    choices = "" if step["conv_choices"] == "table" else ", measured forms"
    return [
        name,
        step["size"] + choices,
        step["precision"],
        f"{step['global_batch_size']:,}",
        f"{step['step_seconds'] * 1e3:,.1f}",
        f"{step['pairs_per_second']:,.1f}",
        f"{step['model_flops_per_second'] / 1e12:,.3f}",
        _percent(step["model_flops_utilization"]),
        _percent(step["roofline_share"]),
        "" if memory is None else f"{memory / _GIB:.2f}",
        f"{step['compile_seconds']:.0f}",
    ]


def _largest_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "size", "patients a device", *_STEP_COLUMNS[3:])
    rows = []
    for result in results:
        for one in result.get("largest_batches", ()):
            rows_text = f"{one['rows']:,}" if one["is_close"] else f"at least {one['rows']:,}"
            cells = [""] * (len(columns) - 3)
            if one["figures"] is not None:
                cells = _step_row(result["name"], one["figures"])[3:]
            rows.append([result["name"], one["size"], rows_text, *cells])
    return table(columns, rows)


def _torch_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "size", "pairs", "program", "ours, ms", "PyTorch, ms", "times faster")
    rows = []
    for result in results:
        for one in result.get("against_torch", ()):
            cells = [f"{one['batch_size']:,}", one["program"], _ms(one["seconds"]["jax"])]
            for name in ("torch", "torch_compile"):
                cells.append(_ms(one["seconds"].get(name)))
                cells.append(_turns(one["times_faster"].get(name)))
            rows.append([result["name"], one["size"], *cells])
    return table((*columns, "torch.compile, ms", "times faster"), rows)


def _pipeline_table(results: Sequence[dict[str, Any]]) -> str:
    rows, sizes = [], ("small", "medium", "large")
    for result in results:
        if (one := result.get("pipeline")) is None:
            continue
        asked = {x["size"]: x for x in one["appetite"]}
        cells = [f"{one['pairs_per_second_and_core']:,.0f}", f"{one['times_plain']:.0f}"]
        cells += [
            f"{asked[size]['cores']:,.1f} ({asked[size]['pairs_per_second']:,.0f} pairs/s)"
            for size in sizes
        ]
        rows.append([result["name"], *cells])
    return table(("machine", "pairs/s and core", "times the plain loader", *sizes), rows)


def _machine_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "devices", "cores", "busy before", "measured on", "commit", "versions")
    rows = []
    for result in results:
        machine = result["machine"]
        devices = f"{machine['num_devices']} x {machine['device_kind']}"
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        load = result["load_average"]
        cells = [str(machine["num_cores"]), "" if load is None else f"{load:.1f}"]
        cells += [result["date"], result["commit"] or "", versions]
        rows.append([result["name"], devices, *cells])
    return table(columns, rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:,.1f}"


def _turns(ratios: Sequence[float] | None) -> str:
    if ratios is None:
        return ""
    median, least, most = ratios
    return f"{median:.2f} [{least:.2f} to {most:.2f}]"
