"""Trains the same run in the plain form of the step and in its forms for GPUs, on a CPU.

    python benchmarks/gpu_step_parity.py --data-dir=data --out=DIR

Seed, recordings and augmentation are the same, and all activations are float32, so only rounding
may differ. The kernels for GPUs are replaced by their twins of plain operations. One run is killed
(kill -9) and resumed, and one uses eight devices. DIR/parity.md then holds the differences.
"""

import dataclasses
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import bench_process
import markdown_table
import numpy as np
import tyro
from rich.console import Console

import clef_jax
from clef_jax import train as train_command
from clef_jax.training import logs, run as training_run, saved_run

FORM = "CLEF_JAX_BENCHMARK_FORM"
"""Environment variable that states the platform whose form a worker trains in."""
PLAIN = "plain"
RUNS: dict[str, tuple[str, list[str], int]] = {
    # form, flags, number of devices
    PLAIN: ("cpu", [], 1),
    "plain, 8 devices": ("cpu", [], 8),
    "for GPUs": ("gpu", [], 1),
    "own kernels": ("gpu", ["--own-kernels"], 1),
    "own kernels, killed and resumed": ("gpu", ["--own-kernels"], 1),
    "own kernels, 8 devices": ("gpu", ["--own-kernels"], 8),
    "own kernels, remat": ("gpu", ["--own-kernels", "--remat"], 1),
}
KILLED = "own kernels, killed and resumed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the runs."""

    data_dir: pathlib.Path
    """Folder of the prepared data."""
    out: pathlib.Path
    """Folder for the runs and the table."""
    dataset: str = "mimic_iv_ecg"
    size: str = "small"
    global_batch_size: int = 16
    num_steps: int = 200
    learning_rate: float = 1e-3
    """Peak learning rate, high enough for the loss to change within few steps."""
    window_seconds: float = 2.0
    """Length of a view in seconds; XLA's grouped convolution is slow on a CPU."""


def train(name: str, settings: Settings) -> tuple[np.ndarray, pathlib.Path]:
    """Trains one run, and returns its loss at each step and its workdir."""
    form, flags, num_devices = RUNS[name]
    workdir = settings.out / name.replace(", ", "_").replace(" ", "_")
    command = [sys.executable, __file__, "worker", f"--workdir={workdir}", *flags]
    command += bench_process.flags({k: v for k, v in vars(settings).items() if k != "out"})
    command += [
        "--log-every-steps=1",
        f"--checkpoint-every-steps={max(1, settings.num_steps // 10)}",
        "--health-every-steps=0",
    ]
    command += ["--precision=float32", "--window-start=random"]
    devices = f"--xla_force_host_platform_device_count={num_devices}"
    environment = os.environ | {FORM: form, "XLA_FLAGS": devices}
    killed = workdir.with_name(f"{workdir.name}.killed")
    if name == KILLED and not killed.exists():
        shutil.rmtree(workdir, ignore_errors=True)  # of a start that was stopped before the kill
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while (saved_run.newest_step(workdir) or 0) < settings.num_steps // 2:
                if process.poll() is not None:
                    raise SystemExit(f"{name}: the run ended before it was killed.")
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        killed.touch()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return _losses(workdir), workdir


def _losses(workdir: pathlib.Path) -> np.ndarray:
    if not (workdir / logs.METRICS_FILE).exists():
        return np.zeros(0)
    by_step = {line["step"]: line["loss"] for line in logs.read(workdir) if "loss" in line}
    return np.array([by_step[step] for step in sorted(by_step)])


def worker(arguments: list[str]) -> None:
    """Trains one run in the form of the platform that the environment states."""
    training_run.state_lib.make_trainer = functools.partial(
        training_run.state_lib.make_trainer, platform=os.environ[FORM]
    )
    train_command.main(arguments)


def table(losses: dict[str, np.ndarray], last: dict[str, str]) -> str:
    """Returns the differences of losses, and of digests of the last weights, in Markdown."""
    columns = ("form", "loss, first and last step", "largest difference of a loss: steps 1-20")
    columns += ("all steps", "mean difference, last fifth", "last weights")
    rows = []
    for name, values in losses.items():
        base = KILLED.partition(",")[0] if name == KILLED else PLAIN
        difference = np.abs(values - losses[base])
        verdict = "the same bits as" if last[name] == last[base] else "other bits than"
        ends = f"{values[0]:.4f}, {values[-1]:.4f}"
        largest = (f"{difference[:20].max():.1e}", f"{difference.max():.1e}")
        mean = f"{_last_fifth(values) - _last_fifth(losses[base]):+.1e}"
        rows.append((name, ends, *largest, mean, f"{verdict} {base}"))
    return markdown_table.table(columns, rows)


def _last_fifth(losses: np.ndarray) -> float:
    """Returns the mean loss of the last fifth of a run."""
    return float(losses[-max(1, len(losses) // 5) :].mean())


def main(settings: Settings) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    losses, last = {}, {}
    for name in RUNS:
        losses[name], workdir = train(name, settings)
        last[name] = clef_jax.load(str(workdir)).fingerprint
    text = table(losses, last)
    (settings.out / "parity.md").write_text(text)
    Console(highlight=False).print(text, soft_wrap=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2:])
    else:
        main(tyro.cli(Settings, description=__doc__))
