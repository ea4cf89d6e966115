"""A plan as text for people."""

import re
from collections.abc import Iterable

import rich.console
import rich.table

from clef_jax.planning.estimate import NUM_EPOCHS, Plan
from clef_jax.planning.hlo import Collective
from clef_jax.planning.search import SearchResult
from clef_jax.planning.step import NUM_PATIENTS

_NUM_COLLECTIVES = 6
"""The largest, one line each; the others are added up."""


def show(plan: Plan, console: rich.console.Console) -> None:
    """Prints the plan: what was planned, memory, work, exchanges, time, costliest operations."""
    chip = plan.topology.chip
    console.print(
        f"[bold]{plan.size}, {plan.objective}, {plan.precision}"
        f"{', remat' if plan.remat else ''}[/], {plan.global_batch_size} patients per step on "
        f"{plan.topology.name}: {plan.topology.num_devices} devices, {plan.rows} patients each.",
        soft_wrap=True,
    )
    console.print(_took(plan), soft_wrap=True)
    for table in (_memory(plan), _work(plan), _exchanges(plan), _time(plan), _costliest(plan)):
        if table is not None:
            console.print(table)
    console.print(f"Rates of {chip.name}: {chip.source}.", soft_wrap=True)
    for line in verdicts(plan):
        console.print(line, soft_wrap=True)


def verdicts(plan: Plan) -> list[str]:
    """What the figures come to, in sentences."""
    found = []
    if plan.memory.fits is None:
        found.append("Whether it fits is not known: this machine's memory is not in the tables.")
    else:
        found.append("It fits." if plan.memory.fits else "It does not fit. What to change:")
    found += [f"  {line}" for line in plan.advice]
    large = plan.too_large_collectives
    if large:
        found.append(
            f"{len(large)} exchanges are larger than embeddings and gradients; the largest is "
            f"{max(large, key=lambda x: x.num_bytes).largest_shape}."
        )
    elif plan.topology.num_devices > 1 and plan.collectives:
        found.append("No exchange is larger than embeddings and gradients.")
    if plan.pairs_per_second is not None and plan.hours is not None:
        kind = "At the very best" if plan.compiler_seconds is None else "By this estimate"
        found.append(
            f"{kind} {plan.pairs_per_second:,.0f} pairs/s, {plan.hours:,.2f} hours for "
            f"{NUM_EPOCHS} epochs of {NUM_PATIENTS:,} patients. Nothing was run."
        )
    return found


def show_search(found: SearchResult, plan: Plan, console: rich.console.Console) -> None:
    """Prints what a search for the largest batch found."""
    table = _table("Search for the largest batch", "global batch", "a device", "needs", "fits")
    devices = plan.topology.num_devices
    for trial in found.trials:
        fits = "yes" if trial.fits else "no"
        row = (f"{trial.rows * devices:,}", f"{trial.rows:,}", size_of(trial.used_bytes), fits)
        table.add_row(*row)
    console.print(table)
    largest = f"{found.rows * devices:,} patients per step ({found.rows} on each device)"
    if not found.rows:
        console.print("Not even one patient per device fits.")
    elif found.is_close:
        console.print(f"The largest batch that fits is about {largest}.", soft_wrap=True)
    else:
        console.print(f"At least {largest} fit; the search was cut short.", soft_wrap=True)


def _took(plan: Plan) -> str:
    if plan.compile_seconds is None:
        return (
            f"Lowered in {plan.lower_seconds:.0f} s. There is no compiler for this machine here: "
            "memory and traffic are counted from shapes, as if everything elementwise were fused."
        )
    return f"Lowered in {plan.lower_seconds:.0f} s, compiled in {plan.compile_seconds:.0f} s."


def _table(title: str, *columns: str) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _memory(plan: Plan) -> rich.table.Table:
    table = _table("Memory of a device", "kind", "bytes")
    memory = plan.memory
    for name, value in (
        ("parameters", memory.parameters_bytes),
        ("optimiser state", memory.optimizer_bytes),
        ("batch", memory.batch_bytes),
        ("filter and noise", memory.constants_bytes),
        ("arguments: all of these, padded", memory.arguments_bytes),
        ("outputs that reuse no argument", memory.outputs_bytes),
        ("temporaries: activations, gradients", memory.temporaries_bytes),
        ("code", memory.code_bytes),
        ("[bold]all[/]", memory.total_bytes),
        ("there is", memory.available_bytes),
    ):
        table.add_row(name, size_of(value))
    return table


def _work(plan: Plan) -> rich.table.Table:
    table = _table("Work of a device in a step", "what", "amount")
    table.add_row("operations of network and loss", f"{plan.model_flops / 1e9:,.1f} GFLOP")
    if plan.compiled_flops is not None:
        table.add_row("operations as compiled", f"{plan.compiled_flops / 1e9:,.1f} GFLOP")
    table.add_row("least memory traffic", size_of(plan.least_bytes))
    if plan.compiled_bytes is not None:
        table.add_row("traffic as compiled, also on the chip", size_of(plan.compiled_bytes))
    table.add_row("arithmetic intensity", f"{plan.arithmetic_intensity:,.0f} FLOP/B")
    return table


def _exchanges(plan: Plan) -> rich.table.Table | None:
    if plan.topology.num_devices == 1 or not plan.collectives:
        return None
    table = _table("Exchanges", "kind", "largest array", "result", "times", "among")
    by_size = sorted(plan.collectives, key=lambda x: -x.num_bytes)
    for one in by_size[:_NUM_COLLECTIVES]:
        among = "?" if one.group_size is None else str(one.group_size)
        table.add_row(one.kind, one.largest_shape, size_of(one.num_bytes), str(one.times), among)
    rest = by_size[_NUM_COLLECTIVES:]
    if rest:
        table.add_row(f"{len(rest)} smaller ones", "", size_of(_result_bytes(rest)), "", "")
    table.add_row("[bold]all[/]", "", size_of(_result_bytes(by_size)), "", "")
    return table


def _result_bytes(collectives: Iterable[Collective]) -> int:
    return sum(x.num_bytes * x.times for x in collectives)


def _time(plan: Plan) -> rich.table.Table | None:
    roofline = plan.roofline
    if plan.topology.chip.peak_flops_per_second is None:
        return None
    table = _table("Time of a step", "by", "milliseconds")
    table.add_row("operations at the peak rate", _ms(roofline.compute_seconds))
    table.add_row("least memory traffic at full bandwidth", _ms(roofline.memory_seconds))
    table.add_row("exchanges at full bandwidth", _ms(roofline.exchange_seconds))
    table.add_row(f"[bold]roofline[/]: {roofline.bound or 'not known'}", _ms(roofline.seconds))
    if plan.estimated_cycles is not None:
        clock_hz = plan.topology.chip.clock_hz or 0
        name = f"compiler: {plan.estimated_cycles:,} cycles at {clock_hz / 1e9:g} GHz"
        table.add_row(name, _ms(plan.compiler_seconds))
        table.add_row("[bold]compiler, then exchanges[/]", _ms(plan.step_seconds))
    if plan.model_flops_utilization is not None and plan.roofline_share is not None:
        table.add_row("share of the roofline's speed", f"{plan.roofline_share:.1%}")
        table.add_row("share of the peak rate", f"{plan.model_flops_utilization:.1%}")
    return table


def _costliest(plan: Plan) -> rich.table.Table | None:
    if not plan.estimated_cycles:
        return None
    table = _table("Costliest operations, by the compiler", "where", "cycles", "share", "times")
    for one in plan.costliest:
        share = f"{one.cycles / plan.estimated_cycles:.1%}"
        table.add_row(where(one.origin) or one.name, f"{one.cycles:,}", share, str(one.times))
    return table


def where(origin: str) -> str:
    """JAX's path of names as a place in our code: `backward: encoder/stage_3/block_1/mix/dot`."""
    inner = re.sub(r"\b(?:jit|jvp|transpose|vmap|checkpoint|rematted_computation)\b", "", origin)
    parts = [x.strip("()") for x in re.split(r"[/()]+", inner)]
    skipped = ("", "train_step", "shard_map", "closed_call", "while", "body", "cond", "remat")
    place = "/".join(x for x in parts if x not in skipped)
    if not place:
        return ""
    if "transpose(" in origin:
        return f"backward: {place}"
    return f"forward: {place}" if "jvp(" in origin else place


def size_of(num_bytes: float | None) -> str:
    """Bytes in the unit that suits them."""
    if num_bytes is None:
        return "not known"
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:,.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.2f} GiB"


def _ms(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds * 1e3:,.3f}"
