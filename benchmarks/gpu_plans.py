"""Plans of the training step for GPUs, before and after its forms for them, and their costs.

    python benchmarks/gpu_plans.py --out=DIR

Needs the extra `gpu-plan`, but no GPU. Every plan is kept in the folder, so that the same command
goes on where it was stopped; gpu_plans.md holds the tables. "before" is the plain step, "now" has
convolutions with equal padding and the gradient in buckets, and "own" also the kernels of
`convolution.gpu_kernels`, which count at their roofline. All times are estimates.
"""

import dataclasses
import json
import pathlib
import time
from typing import Any, Literal

import markdown_table
import rich.console
import tyro

from clef_jax import files
from clef_jax.chip import CHIPS
from clef_jax.config import TrainConfig
from clef_jax.planning import (
    gpu_program,
    gpu_target,
    memory as memory_lib,
    printing,
    search,
    step as step_lib,
    topology as topology_lib,
)
from clef_jax.planning.run import prepare_jax

BATCHES = {"small": 512, "medium": 1024, "large": 1024}
"""Patients per step of eight GPUs."""
BEFORE, NOW, OWN = "before", "now", "own"
_PLATFORMS = {BEFORE: "cuda", NOW: "gpu", OWN: "gpu"}
"""Platforms of the step's forms: rules for GPUs apply to `gpu` alone."""
LARGE_ON = {"h100:1": 128, "h100:8": 1024, "h100:4x8": 4096, "h200:8": 1024, "b200:8": 1024}
"""Patients per step of large, 128 for each GPU, by machine."""
EPOCHS = 100
_GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Plans for GPUs."""

    out: pathlib.Path
    """Folder for one JSON file per plan and the tables."""
    sizes: tuple[Literal["small", "medium", "large"], ...] = ("small", "medium", "large")
    chips: tuple[Literal["h100", "h200", "b200"], ...] = ("h100", "h200", "b200")
    dollars_per_gpu_hour: float = 3.0
    """Price of an H100 by which minutes become dollars."""
    search: bool = True
    """Also search the largest batch of each size on one H100."""


def plan(
    out: pathlib.Path, size: str, machine: str, batch: int, form: str, products: str
) -> dict[str, Any]:
    """Returns the reading of one compiled step, from the folder if it is there."""
    name = f"{size}_{machine.replace(':', '_')}_{batch}_{form}_{products}.json"
    if (out / name).exists():
        return json.loads((out / name).read_text())
    topology = topology_lib.by_name(machine)
    config = TrainConfig(
        data_dir="", workdir="", size=size, global_batch_size=batch, own_kernels=form == OWN
    )
    mesh = topology_lib.make_mesh(topology)
    step = step_lib.lower_for(config, mesh, _PLATFORMS[form], 500.0)
    options = gpu_target.compiler_options(topology.chip.name)[products]
    compiled, seconds = step_lib.compile_step(step, options)
    memory = memory_lib.from_compiled(step, compiled, topology.chip)
    values: dict[str, Any] = {
        "size": size,
        "machine": machine,
        "batch": batch,
        "form": form,
        "products": products,
        "compile_seconds": seconds,
        "memory_bytes": memory.total_bytes,
        "available_bytes": memory.available_bytes,
    }
    if not isinstance(compiled, step_lib.TooLarge):
        text = compiled.as_text() or ""
        program = gpu_program.read(text, topology.chip, products=products)
        values |= dataclasses.asdict(program) | {"seconds": program.seconds}
    files.write_text(out / name, json.dumps(values, indent=1) + "\n")
    return values


def compared(settings: Settings, console: rich.console.Console) -> str:
    """Returns the table of the forms, as far as they are planned, on eight GPUs of each kind."""
    columns = ("machine", "size, patients", "form", "products", "kernels", "GiB moved")
    columns += ("GiB of memory", "kernels, ms", "exchanges, ms (exposed)", "step, ms")
    rows = []
    for chip in settings.chips:
        for size in settings.sizes:
            for form in (BEFORE, NOW, OWN) if chip == "h100" else (BEFORE, OWN):
                for products in ("triton", "cublaslt") if chip == "h100" else ("triton",):
                    rows.append(_row(settings, console, chip, size, form, products))
    return markdown_table.table(columns, rows)


def _row(
    settings: Settings,
    console: rich.console.Console,
    chip: str,
    size: str,
    form: str,
    products: str,
) -> tuple[str, ...]:
    start = time.perf_counter()
    x = plan(settings.out, size, f"{chip}:8", BATCHES[size], form, products)
    console.print(f"{size} on {chip}:8, {form}, {products}: {time.perf_counter() - start:.0f} s")
    return (
        *(f"8 x {chip.upper()}", f"{size}, {x['batch']:,}", form, products),
        *(f"{x['num_kernels']:,}", f"{x['num_bytes'] / _GIB:.2f}"),
        f"{x['memory_bytes'] / _GIB:.2f}",
        f"{x['kernel_seconds'] * 1e3:.2f}",
        f"{x['exchange_seconds'] * 1e3:.2f} ({x['exposed_seconds'] * 1e3:.2f})",
        f"{x['seconds'] * 1e3:.2f}",
    )


def costliest(settings: Settings) -> str:
    """Returns the ten costliest kernels of large on eight H100s, before and with own kernels."""
    tables = []
    for form in (BEFORE, OWN):
        x = plan(settings.out, "large", "h100:8", BATCHES["large"], form, "triton")
        rows = (
            (
                *(printing.scope(k["origin"]) or k["name"], k["kind"]),
                f"{k['times'] * k['seconds'] * 1e6:,.0f}",
                f"{k['times'] * k['num_bytes'] / 2**20:,.0f}",
            )
            for k in x["costliest"][:10]
        )
        tables.append(markdown_table.table((f"large, {form}", "kind", "us", "MiB"), rows))
    return "\n".join(tables)


def machines(settings: Settings, console: rich.console.Console) -> str:
    """Returns the table of large on several machines: memory, time, minutes and cost."""
    columns = ("large on", "patients", "GiB of memory", "step, ms", "pairs/s")
    columns += ("minutes for 100 epochs", "dollars")
    rows = []
    for machine, batch in LARGE_ON.items():
        x = plan(settings.out, "large", machine, batch, OWN, "triton")
        console.print(f"large on {machine}")
        minutes = step_lib.NUM_PATIENTS / batch * EPOCHS * x["seconds"] / 60
        gpus = topology_lib.by_name(machine).num_devices
        dollars = minutes / 60 * gpus * settings.dollars_per_gpu_hour
        cost = f"{dollars:,.0f}" if machine.startswith("h100") else ""
        cells = (f"{batch:,}", f"{x['memory_bytes'] / _GIB:.2f}", f"{x['seconds'] * 1e3:.1f}")
        rows.append((machine, *cells, f"{batch / x['seconds']:,.0f}", f"{minutes:,.1f}", cost))
    return markdown_table.table(columns, rows)


def largest(settings: Settings, console: rich.console.Console) -> str:
    """Returns the table of the largest batch of each size on one H100."""
    rows = []
    available = memory_lib.available_bytes(CHIPS["h100"]) or 0
    for size in settings.sizes:

        def attempt(rows: int, size: str = size) -> search.Trial:
            x = plan(settings.out, size, "h100:1", rows, OWN, "cublaslt")
            console.print(f"{size}, {rows} patients: {x['memory_bytes'] / _GIB:.1f} GiB")
            used = x["memory_bytes"]
            return search.Trial(rows, used <= available, used, available)

        first = {"small": 4096, "medium": 1024, "large": 384}[size]
        result = search.largest(attempt, first_rows=first, max_trials=4)
        trial = max((t for t in result.trials if t.fits), key=lambda t: t.rows)
        used = (trial.used_bytes or 0) / _GIB
        rows.append((size, f"{trial.rows:,}", f"{used:.1f}", f"{available / _GIB:.1f}"))
    return markdown_table.table(("size", "largest batch on one H100", "GiB", "of"), rows)


def main(settings: Settings) -> None:
    console = rich.console.Console(highlight=False)
    if not gpu_target.is_installed():
        raise SystemExit("The GPU compiler is missing: pip install 'clef_jax[gpu-plan]'.")
    settings.out.mkdir(parents=True, exist_ok=True)
    prepare_jax(topology_lib.by_name("h100:8"))
    parts = [compared(settings, console)]
    if "large" in settings.sizes:
        parts += [costliest(settings), machines(settings, console)]
    parts += [largest(settings, console)] if settings.search else []
    files.write_text(settings.out / "gpu_plans.md", "\n".join(parts))
    console.print(f"The tables are in {settings.out / 'gpu_plans.md'}.")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
