"""Prints a plan as tables and sentences."""

import re
from collections.abc import Iterable

import rich.console
import rich.table

from clef_jax.errors import counted
from clef_jax.planning import memory as memory_lib
from clef_jax.planning.estimate import NUM_EPOCHS, Plan
from clef_jax.planning.hlo import Collective
from clef_jax.planning.search import SearchResult
from clef_jax.planning.step import NUM_PATIENTS

_PRODUCTS = {
    "triton": "Triton, tiles by cost model, --bias-in-product",
    "cublaslt": "cuBLASLt",
    "autotuned": "as a real GPU chose",
}
_NUM_COLLECTIVES = 6
"""Number of collectives with a line of their own, the largest; the others are summed."""


def show(plan: Plan, console: rich.console.Console) -> None:
    """Prints a plan: settings, memory, work, collectives, time and costliest operations."""
    chip = plan.topology.chip
    forms = (", remat" if plan.remat else "") + (", own kernels" if plan.own_kernels else "")
    devices = counted(plan.topology.num_devices, "device")
    console.print(
        f"[bold]{plan.size}, {plan.objective}, {plan.precision}{forms}[/], "
        f"{counted(plan.global_batch_size, 'patient')} per step on {plan.topology.name}: "
        f"{devices}, {counted(plan.rows, 'patient')} each.",
        soft_wrap=True,
    )
    console.print(_compilation(plan), soft_wrap=True)
    for table in (
        *(_memory(plan), _work(plan), _collectives(plan), _time(plan)),
        *(_costliest(plan), _costliest_kernels(plan)),
    ):
        if table is not None:
            console.print(table)
    console.print(f"Rates of {chip.name}: {chip.reference}.", soft_wrap=True)
    for line in verdicts(plan):
        console.print(line, soft_wrap=True)


def verdicts(plan: Plan) -> list[str]:
    """Returns the conclusions from a plan's figures as sentences."""
    lines = []
    if plan.memory.fits is None:
        lines.append("It is unknown whether the step fits, as this machine's memory is not listed.")
    else:
        lines.append("The step fits." if plan.memory.fits else "The step does not fit. Try:")
    lines += [f"  {line}" for line in plan.advice]
    large = plan.too_large_collectives
    if large:
        lines.append(
            f"The step has {counted(len(large), 'collective')} larger than embeddings and "
            f"gradients; the largest is {max(large, key=lambda x: x.num_bytes).largest_shape}."
        )
    elif plan.topology.num_devices > 1 and plan.collectives:
        lines.append("No collective is larger than embeddings and gradients.")
    if plan.pairs_per_second is not None and plan.hours is not None:
        kind = "At most" if plan.step_seconds_source == "roofline" else "Estimated"
        lines.append(
            f"{kind} {plan.pairs_per_second:,.0f} pairs/s, {plan.hours:,.2f} hours for "
            f"{counted(NUM_EPOCHS, 'epoch')} of {counted(NUM_PATIENTS, 'patient')}. The step was "
            "not run."
        )
    return lines


def show_search(result: SearchResult, plan: Plan, console: rich.console.Console) -> None:
    """Prints the result of a search for the largest batch."""
    table = _table("Search for the largest batch", "global batch", "per device", "needs", "fits")
    devices = plan.topology.num_devices
    for trial in result.trials:
        fits = "yes" if trial.fits else "no"
        row = (f"{trial.rows * devices:,}", f"{trial.rows:,}", format_bytes(trial.used_bytes), fits)
        table.add_row(*row)
    console.print(table)
    largest = f"{counted(result.rows * devices, 'patient')} per step ({result.rows} on each device)"
    if not result.rows:
        console.print("Not even one patient per device fits.")
    elif result.is_close:
        console.print(f"The largest batch that fits is about {largest}.", soft_wrap=True)
    else:
        console.print(f"At least {largest} fit; the search stopped early.", soft_wrap=True)


def _compilation(plan: Plan) -> str:
    """Returns a sentence on how the step was lowered and compiled."""
    if plan.compile_seconds is None:
        return (
            f"Lowered in {plan.lower_seconds:.0f} s. No compiler for this machine is available, so "
            "memory and traffic are counted from shapes, as if all elementwise work were fused. "
            "pip install 'clef_jax\\[gpu-plan]' installs the compiler for GPUs."
        )
    return f"Lowered in {plan.lower_seconds:.0f} s, compiled in {plan.compile_seconds:.0f} s."


def _table(title: str, *columns: str) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _memory(plan: Plan) -> rich.table.Table:
    table = _table("Memory per device", "kind", "bytes")
    memory = plan.memory
    for name, value in (
        ("parameters", memory.parameters_bytes),
        ("optimiser state", memory.optimizer_bytes),
        ("batch", memory.batch_bytes),
        ("filter and noise", memory.constants_bytes),
        ("arguments: all of these, with padding", memory.arguments_bytes),
        ("outputs in new memory", memory.outputs_bytes),
        ("temporaries: activations, gradients", memory.temporaries_bytes),
        ("code", memory.code_bytes),
        ("[bold]total[/]", memory.total_bytes),
        (_available(plan), memory.available_bytes),
    ):
        table.add_row(name, format_bytes(value))
    return table


def _available(plan: Plan) -> str:
    """Returns what the available memory of a device is."""
    chip, available = plan.topology.chip, plan.memory.available_bytes
    if chip.platform != "gpu" or not available or not chip.memory_bytes:
        return "available"
    fraction = f"{available / chip.memory_bytes:.0%}"
    return f"available: {fraction} of the card ({memory_lib.MEMORY_FRACTION_VARIABLE})"


def _work(plan: Plan) -> rich.table.Table:
    table = _table("Work per device and step", "quantity", "amount")
    table.add_row("operations of network and loss", f"{plan.model_flops / 1e9:,.1f} GFLOP")
    if plan.compiled_flops is not None:
        table.add_row("operations as compiled", f"{plan.compiled_flops / 1e9:,.1f} GFLOP")
    table.add_row("least memory traffic", format_bytes(plan.least_bytes))
    if plan.compiled_bytes is not None:
        table.add_row("traffic as compiled, with on-chip memory", format_bytes(plan.compiled_bytes))
    if plan.gpu is not None:
        table.add_row("kernels", f"{plan.gpu.num_kernels:,}")
        table.add_row("traffic of the kernels", format_bytes(plan.gpu.num_bytes))
        table.add_row("matrix products", _PRODUCTS[plan.gpu.products])
    table.add_row("arithmetic intensity", f"{plan.arithmetic_intensity:,.0f} FLOP/B")
    return table


def _collectives(plan: Plan) -> rich.table.Table | None:
    if plan.topology.num_devices == 1 or not plan.collectives:
        return None
    table = _table("Collectives", "kind", "largest array", "result", "times", "devices")
    by_size = sorted(plan.collectives, key=lambda x: -x.num_bytes)
    for item in by_size[:_NUM_COLLECTIVES]:
        devices = "unknown" if item.group_size is None else str(item.group_size)
        size, times = format_bytes(item.num_bytes), str(item.times)
        table.add_row(item.kind, item.largest_shape, size, times, devices)
    rest = by_size[_NUM_COLLECTIVES:]
    if rest:
        table.add_row(f"{len(rest)} smaller ones", "", format_bytes(_result_bytes(rest)), "", "")
    table.add_row("[bold]total[/]", "", format_bytes(_result_bytes(by_size)), "", "")
    return table


def _result_bytes(collectives: Iterable[Collective]) -> int:
    return sum(x.num_bytes * x.times for x in collectives)


def _time(plan: Plan) -> rich.table.Table | None:
    roofline = plan.roofline
    if plan.topology.chip.peak_flops_per_second is None:
        return None
    table = _table("Time per step", "estimate", "milliseconds")
    table.add_row("operations at the peak rate", _ms(roofline.compute_seconds))
    table.add_row("least memory traffic at full bandwidth", _ms(roofline.memory_seconds))
    table.add_row("collectives at full bandwidth", _ms(roofline.exchange_seconds))
    table.add_row(f"[bold]roofline[/]: {roofline.bound or 'unknown'}", _ms(roofline.seconds))
    if plan.gpu is not None and plan.gpu.seconds is not None:
        table.add_row("compiler: kernels, one after another", _ms(plan.gpu.kernel_seconds))
        table.add_row("compiler: exchanges", _ms(plan.gpu.exchange_seconds))
        table.add_row("compiler: exchanges that kernels wait for", _ms(plan.gpu.exposed_seconds))
        table.add_row("[bold]compiler: kernels and waiting[/]", _ms(plan.gpu.seconds))
        for products, seconds in plan.gpu_seconds.items():
            if products != plan.gpu.products:
                table.add_row(f"the same with {_PRODUCTS[products]}", _ms(seconds))
    if plan.estimated_cycles is not None:
        clock_hz = plan.topology.chip.clock_hz or 0
        name = f"compiler: {plan.estimated_cycles:,} cycles at {clock_hz / 1e9:g} GHz"
        table.add_row(name, _ms(plan.compiler_seconds))
        table.add_row("[bold]compiler, then collectives[/]", _ms(plan.step_seconds))
    if plan.model_flops_utilization is not None and plan.roofline_share is not None:
        table.add_row("fraction of the roofline's speed", f"{plan.roofline_share:.1%}")
        table.add_row("fraction of the peak rate", f"{plan.model_flops_utilization:.1%}")
    return table


def _costliest(plan: Plan) -> rich.table.Table | None:
    if not plan.estimated_cycles:
        return None
    table = _table("Costliest operations (compiler)", "scope", "cycles", "share", "times")
    for item in plan.costliest:
        share = f"{item.cycles / plan.estimated_cycles:.1%}"
        table.add_row(scope(item.origin) or item.name, f"{item.cycles:,}", share, str(item.times))
    return table


def _costliest_kernels(plan: Plan) -> rich.table.Table | None:
    if plan.gpu is None:
        return None
    table = _table("Costliest kernels (compiler)", "scope", "kind", "us", "MiB", "share", "times")
    for item in plan.gpu.costliest:
        share = item.times * item.seconds / (plan.gpu.kernel_seconds or 1)
        table.add_row(
            *(
                scope(item.origin) or item.name,
                item.kind,
                f"{item.times * item.seconds * 1e6:,.1f}",
            ),
            *(f"{item.times * item.num_bytes / 2**20:,.1f}", f"{share:.1%}", str(item.times)),
        )
    return table


def scope(origin: str) -> str:
    """Shortens JAX's path of named scopes: `backward: encoder/stage_3/block_1/mix/dot`."""
    inner = re.sub(r"\b(?:jit|jvp|transpose|vmap|checkpoint|rematted_computation)\b", "", origin)
    parts = [x.strip("()") for x in re.split(r"[/()]+", inner)]
    skipped = ("", "train_step", "shard_map", "closed_call", "while", "body", "cond", "remat")
    path = "/".join(x for x in parts if x not in skipped)
    if not path:
        return ""
    if "transpose(" in origin:
        return f"backward: {path}"
    return f"forward: {path}" if "jvp(" in origin else path


def format_bytes(num_bytes: float | None) -> str:
    """Formats a number of bytes with a unit of its magnitude."""
    if num_bytes is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:,.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.2f} GiB"


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:,.3f}"
