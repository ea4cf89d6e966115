"""Plans every size for four TPU slices, and writes a table of the plans.

`python benchmarks/plans.py --out=plans`

Each plan is a separate process of some minutes; existing plans in the folder are reused. Needs the
extra `tpu`, but no TPU.
"""

import dataclasses
import pathlib

import bench_process
import markdown_table
import tyro
from rich.console import Console

BATCHES = {
    "v5e:4x4": {"small": 4096, "medium": 1024, "large": 1024},
    "v5e:16x16": {"small": 32768, "medium": 16384, "large": 16384},
    "v5p:4x4x4": {"small": 16384, "medium": 8192, "large": 4096},
    "v6e:16x16": {"small": 32768, "medium": 16384, "large": 16384},
}
"""Global batch by topology and size: 64 to 256 patients per chip, which fill its lanes."""

_COLUMNS = {
    "size": "size",
    "topology": "topology",
    "batch": "batch",
    "memory": "memory, GiB",
    "fits": "fits",
    "collectives": "collectives, MiB",
    "largest": "largest collective",
    "cycles": "M cycles",
    "step": "step, ms",
    "roofline": "roofline, ms",
    "share": "of roofline",
    "mfu": "of peak",
    "pairs": "pairs/s",
    "hours": "hours",
    "compile": "compiled in, s",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the plans."""

    out: pathlib.Path
    """Folder for one JSON file per plan and the table, plans.md."""
    sizes: tuple[str, ...] = ("small", "medium", "large")
    topologies: tuple[str, ...] = tuple(BATCHES)


def make(size: str, topology: str, out: pathlib.Path) -> dict:
    """Returns a plan from the folder, or from a new process."""
    batch = BATCHES[topology][size]
    path = out / f"{size}_{topology.replace(':', '_')}_{batch}.json"
    return bench_process.plan(path, size=size, topology=topology, global_batch_size=batch)


def row(plan: dict) -> dict[str, str]:
    """Returns the cells of a plan by column."""
    collectives = plan["collectives"]
    largest = max(collectives, key=lambda x: x["num_bytes"], default=None)
    total = plan["memory"]["total_bytes"]
    cells = {
        "size": plan["size"],
        "topology": plan["topology"]["name"],
        "batch": f"{plan['global_batch_size']:,}",
        "memory": "" if total is None else f"{total / 2**30:.2f}",
        "fits": "yes" if plan["memory"]["fits"] else "no",
        "roofline": f"{plan['roofline']['seconds'] * 1e3:.2f}",
        "compile": f"{plan['compile_seconds']:.0f}",
    }
    if largest is not None:
        total_bytes = sum(x["num_bytes"] * x["times"] for x in collectives)
        cells["collectives"] = f"{total_bytes / 2**20:.1f}"
        cells["largest"] = f"{largest['kind']}, {largest['num_bytes'] / 2**20:.1f} MiB"
    if plan["step_seconds"] is not None:
        cells |= {
            "cycles": f"{plan['estimated_cycles'] / 1e6:.1f}",
            "step": f"{plan['step_seconds'] * 1e3:.2f}",
            "share": f"{plan['roofline_share']:.0%}",
            "mfu": f"{plan['model_flops_utilization']:.1%}",
            "pairs": f"{plan['pairs_per_second']:,.0f}",
            "hours": f"{plan['hours']:.2f}",
        }
    return cells


def table(plans: list[dict]) -> str:
    """Returns the table in Markdown."""
    rows = ([row(plan).get(name, "") for name in _COLUMNS] for plan in plans)
    return markdown_table.table(tuple(_COLUMNS.values()), rows)


def main(settings: Settings) -> None:
    console = Console(highlight=False)
    settings.out.mkdir(parents=True, exist_ok=True)
    plans = []
    for topology in settings.topologies:
        for size in settings.sizes:
            console.print(f"{size} on {topology}")
            plans.append(make(size, topology, settings.out))
            (settings.out / "plans.md").write_text(table(plans))
    console.print(table(plans), soft_wrap=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
