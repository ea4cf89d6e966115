"""Measures how the cost of a device's step grows with the number of devices.

`python benchmarks/weak_scaling.py --out=weak_scaling`

Compiles the real training step for 1 to 256 simulated CPU devices with the same number of patients
per device. Operations and memory traffic per device should stay constant except for the loss, which
compares the embeddings of a device with those of all devices. Each plan is a separate process;
existing plans in the folder are reused.
"""

import dataclasses
import pathlib

import bench_process
import markdown_table
import tyro
from rich.console import Console

from clef_jax.models import cost, size as size_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the plans."""

    out: pathlib.Path
    """Folder for one JSON file per plan and the table."""
    size: str = "small"
    rows: int = 16
    """Number of patients per device."""
    devices: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Numbers of devices."""


def make(settings: Settings, num_devices: int) -> dict:
    """Returns a plan from the folder, or from a new process."""
    return bench_process.plan(
        settings.out / f"{settings.size}_{settings.rows}_{num_devices}.json",
        size=settings.size,
        topology=f"cpu:{num_devices}",
        global_batch_size=settings.rows * num_devices,
    )


def row(plan: dict) -> tuple[str, ...]:
    """Returns a line of the table in Markdown."""
    num_devices, batch = plan["topology"]["num_devices"], plan["global_batch_size"]
    width = size_lib.by_name(plan["size"]).embedding_width
    loss = cost.loss_flops(plan["rows"], batch, width)
    sums = [x for x in plan["collectives"] if x["kind"] == "all-reduce"]
    others = [x for x in plan["collectives"] if x["kind"] != "all-reduce"]
    sizes = [sum(x["num_bytes"] * x["times"] for x in kind) / 2**20 for kind in (others, sums)]
    memory = plan["memory"]
    return (
        f"{num_devices:,}",
        f"{batch:,}",
        f"{(plan['model_flops'] - loss) / 1e9:.3f}",
        f"{loss / 1e9:.3f}",
        f"{loss / plan['model_flops']:.1%}",
        f"{plan['compiled_flops'] / 1e9:.3f}",
        f"{plan['compiled_bytes'] / 2**30:.3f}",
        f"{memory['temporaries_bytes'] / 2**20:.1f}",
        f"{plan['embeddings_bytes'] / 2**20:.2f}",
        f"{sizes[0]:.2f}",
        f"{sizes[1]:.2f}",
    )


HEADS = (
    "devices",
    "global batch",
    "encoder, GFLOP",
    "loss, GFLOP",
    "loss, fraction",
    "compiled, GFLOP (loops once)",
    "traffic, GiB",
    "temporaries, MiB",
    "embeddings, MiB",
    "gathered, MiB",
    "summed, MiB",
)


def main(settings: Settings) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    text = markdown_table.table(HEADS, [row(make(settings, n)) for n in settings.devices])
    (settings.out / "weak_scaling.md").write_text(text)
    Console(highlight=False).print(text, soft_wrap=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
