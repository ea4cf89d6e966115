"""Makes the page with the results of `bench.py` from its JSON files."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import markdown_table
from bench_work import TARGET_CHIP, TARGET_UTILIZATION

from clef_jax.errors import UserError

VERSION = 1
"""Version of the JSON files."""

_GIB = 2**30

_TOP = """\
# Speed by machine

`make bench` measures a machine in about ten minutes and adds it to these tables; the results are in
[benchmarks/results](../benchmarks/results). The other benchmarks are described in
[benchmarks](../benchmarks/README.md). `benchmarks/bench.py` writes this page.
"""

_STEP = """
## Training step

The complete step of `clef_jax.train`: makes the views from int16 samples, encodes both, computes
the paper's loss and its gradient, and updates the parameters. The batch is on the device, so
reading is not included. Times are medians. "of peak" is the fraction of the peak rate of dense
bfloat16 products, and counts only the operations of network and loss. "of roofline" is the fraction
of the speed that the roofline allows (operations, or each layer read and written once). A cell is
empty if the machine does not report the value.
"""

_KERNELS = """
## Kernels of a GPU

The compiler's estimates, which `clef-jax plan` adds up, beside the clock of the profiler, per step.
The ratio is the clock divided by the estimate: multiply a plan's time by it.
"""

_NO_GPU = """
## Kernels of a GPU

No GPU has run this yet: on one, `make bench EXTRA=cuda` compares the compiler's estimate of every
kernel with the clock, measures the step with and without the kernels of this package, and keeps the
kernels that the GPU chose for `clef-jax plan --autotune-results`.
"""

_LARGEST = """
## Largest batch that fits

Without recomputing activations and without microbatches; each trial is a separate process. "at
least" means that the time ended before a larger batch failed.
"""

_TORCH = """
## Comparison with plain PyTorch

The same encoder with the same plain InfoNCE loss and AdamW, without making views. The frameworks
alternate in one run, with the same threads and precision (autocast for bfloat16 in PyTorch). "times
faster" is the median over the repetitions, with minimum and maximum in brackets.
"""

_PIPELINE = f"""
## Input pipeline

From prepared records to host batches, per core of processor time, compared with a loader that reads
WFDB files and filters with SciPy. The last columns are the cores that supply one
{TARGET_CHIP.upper()} at {TARGET_UTILIZATION:.0%} of its peak; small encoders do not reach that,
because memory traffic limits them.
"""

_MACHINES = """
## Machines

"busy before" is the number of cores that other programs used in the minute before. On a machine
that was not idle all times are too long, and most of all PyTorch's, whose threads wait for each
other.
"""


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Returns all results in a folder, sorted by the name of the machine.

    Raises:
        UserError: a file is not a result of this version.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        if result.get("version") != VERSION:
            raise UserError(
                f"{path} has another version; run make bench again on that machine.",
                problem="other_version",
            )
        results.append(result)
    return sorted(results, key=lambda result: result["name"])


def page(results: Sequence[dict[str, Any]]) -> str:
    """Returns the page in Markdown."""
    kernels = _kernel_table(results)
    parts = (
        (_STEP, _step_table(results)),
        (_KERNELS, kernels) if kernels else (_NO_GPU, " "),
        (_LARGEST, _largest_table(results)),
        (_TORCH, _torch_table(results)),
        (_PIPELINE, _pipeline_table(results)),
        (_MACHINES, _machine_table(results)),
    )
    return _TOP + "".join(f"{text}\n{table}".rstrip() + "\n" for text, table in parts if table)


_STEP_COLUMNS = (
    *("machine", "size", "precision", "batch", "step, ms", "pairs/s", "TFLOP/s", "of peak"),
    *("of roofline", "memory, GiB", "compiled in, s"),
)


def _step_table(results: Sequence[dict[str, Any]]) -> str:
    rows = [
        _step_row(result["name"], step) for result in results for step in result.get("steps", ())
    ]
    return markdown_table.table(_STEP_COLUMNS, rows)


def _step_row(name: str, step: dict[str, Any]) -> list[str]:
    # A CPU does not report its peak memory; the compiler's estimate replaces it.
    memory = step["peak_bytes"] or step["planned_bytes"]
    choices = "" if step["conv_choices"] == "table" else ", tuned"
    choices += ", own kernels" if step.get("own_kernels") else ""
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


def _kernel_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "size", "kernels", "number", "estimate, us", "clock, us", "ratio")
    rows = []
    for result in results:
        for compared in result.get("kernels", ()):
            own = ", own kernels" if compared["own_kernels"] else ""
            sums = {"all": compared["all"], **compared["by_kind"]}
            rows += [
                [
                    *(result["name"], compared["size"] + own, kind, str(of["num_kernels"])),
                    *(f"{of['estimated_us']:,.0f}", f"{of['measured_us']:,.0f}"),
                    f"{of['ratio']:.2f}",
                ]
                for kind, of in sums.items()
            ]
    return markdown_table.table(columns, rows)


def _largest_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "size", "patients per device", *_STEP_COLUMNS[3:])
    rows = []
    for result in results:
        for batch in result.get("largest_batches", ()):
            count = f"{batch['rows']:,}"
            rows_text = count if batch["is_close"] else f"at least {count}"
            cells = [""] * (len(columns) - 3)
            if batch["figures"] is not None:
                cells = _step_row(result["name"], batch["figures"])[3:]
            rows.append([result["name"], batch["size"], rows_text, *cells])
    return markdown_table.table(columns, rows)


def _torch_table(results: Sequence[dict[str, Any]]) -> str:
    columns = ("machine", "size", "pairs", "program", "clef_jax, ms", "PyTorch, ms", "times faster")
    rows = []
    for result in results:
        for comparison in result.get("against_torch", ()):
            seconds, faster = comparison["seconds"], comparison["times_faster"]
            cells = [f"{comparison['batch_size']:,}", comparison["program"], _ms(seconds["jax"])]
            for name in ("torch", "torch_compile"):
                cells.append(_ms(seconds.get(name)))
                cells.append(_ratios(faster.get(name)))
            rows.append([result["name"], comparison["size"], *cells])
    return markdown_table.table((*columns, "torch.compile, ms", "times faster"), rows)


def _pipeline_table(results: Sequence[dict[str, Any]]) -> str:
    rows, sizes = [], ("small", "medium", "large")
    for result in results:
        if (pipeline := result.get("pipeline")) is None:
            continue
        required = {x["size"]: x for x in pipeline["appetite"]}
        cells = [f"{pipeline['pairs_per_second_and_core']:,.0f}", f"{pipeline['times_plain']:.0f}"]
        cells += [
            f"{required[size]['cores']:,.1f} ({required[size]['pairs_per_second']:,.0f} pairs/s)"
            for size in sizes
        ]
        rows.append([result["name"], *cells])
    return markdown_table.table(
        ("machine", "pairs/s and core", "times faster than the plain loader", *sizes), rows
    )


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
    return markdown_table.table(columns, rows)


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:,.1f}"


def _ratios(ratios: Sequence[float] | None) -> str:
    if ratios is None:
        return ""
    median, least, most = ratios
    return f"{median:.2f} [{least:.2f} to {most:.2f}]"
