"""Trains the same run in float32 and bfloat16, with and without remat, and compares the losses.

`python benchmarks/precision.py --data-dir=data --out=precision`

Seed, examples and augmentation are the same, so only rounding differs. An interrupted command
resumes. Writes loss.png and a table of means over intervals of steps.
"""

import dataclasses
import pathlib
import subprocess
import sys

import bench_process
import markdown_table
import matplotlib.pyplot as plt
import numpy as np
import tyro
from rich.console import Console

from clef_jax.training import logs

RUNS = {
    "float32": [],
    "bfloat16": ["--precision=bfloat16"],
    "float32, remat": ["--remat"],
    "bfloat16, remat": ["--precision=bfloat16", "--remat"],
    "float32, 4 microbatches": ["--num-microbatches=4"],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the runs."""

    data_dir: pathlib.Path
    """Folder of the prepared data."""
    out: pathlib.Path
    """Folder for the runs, the table and the figure."""
    dataset: str = "mimic_iv_ecg"
    size: str = "small"
    global_batch_size: int = 64
    num_steps: int = 300
    learning_rate: float = 1e-3
    """Peak learning rate, high enough for the loss to change within few steps."""


def train(name: str, settings: Settings) -> np.ndarray:
    """Trains one run, and returns its loss at each step."""
    workdir = settings.out / name.replace(", ", "_").replace(" ", "_")
    command = [sys.executable, "-m", "clef_jax.train", f"--workdir={workdir}", *RUNS[name]]
    command += bench_process.flags({k: v for k, v in vars(settings).items() if k != "out"})
    command += ["--log-every-steps=1", "--checkpoint-every-steps=50", "--health-every-steps=0"]
    command += ["--precision=float32"] if "float32" in name else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return np.array([line["loss"] for line in logs.read(workdir) if "loss" in line])


def table(losses: dict[str, np.ndarray]) -> str:
    """Returns mean losses per fifth of the run and differences from float32, in Markdown."""
    reference = losses["float32"]
    parts = np.array_split(np.arange(len(reference)), 5)
    heads = [f"steps {part[0] + 1}-{part[-1] + 1}" for part in parts]
    lines = []
    for name, values in losses.items():
        difference = values - reference
        cells = [f"{values[part].mean():.4f}" for part in parts]
        cells += [f"{np.abs(difference).max():.1e}", f"{difference.mean():+.1e}"]
        lines.append((name, *cells))
    return markdown_table.table(("", *heads, "largest difference", "mean difference"), lines)


def plot(losses: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Plots the smoothed losses of all runs."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, values in losses.items():
        smooth = np.convolve(values, np.ones(10) / 10, mode="valid")
        axes.plot(np.arange(10, len(values) + 1), smooth, label=name, alpha=0.8)
    axes.set(xlabel="step", ylabel="loss, mean of ten steps")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(settings: Settings) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    losses = {name: train(name, settings) for name in RUNS}
    text = table(losses)
    (settings.out / "loss.md").write_text(text)
    plot(losses, settings.out / "loss.png")
    Console(highlight=False).print(text, soft_wrap=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
