"""The whole road on a simulated cohort: `python -m clef_jax.demo --out=DIR`.

Simulates patients, prepares their records, pre-trains an encoder for some minutes, and writes a
page to look at. Each step is the very command that real data takes.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

import rich.console
import tyro

from clef_jax import prepare, report, simulate, train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Simulate, prepare, train and report, in a few minutes on a laptop."""

    out: str = "demo"
    """Folder for everything; started again, finished parts are kept and training resumes."""
    patients: int = 256
    """Simulated patients."""
    size: str = "small"
    """Encoder to train."""
    num_steps: int = 120
    """Optimiser steps."""
    global_batch_size: int = 32
    """Patients per step."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = tyro.cli(Arguments, args=argv, prog="python -m clef_jax.demo")
    out = pathlib.Path(arguments.out).resolve()
    console = rich.console.Console(highlight=False)
    raw, data, run = out / "raw", out / "data", out / "run"
    steps = [
        (
            simulate.main,
            [f"--patients={arguments.patients}", f"--out={raw}"],
            raw / "record_list.csv",
        ),
        (
            prepare.main,
            ["--dataset=mimic_iv_ecg", f"--source={raw}", f"--data-dir={data}"],
            data / "mimic_iv_ecg",
        ),
        (
            train.main,
            [
                f"--size={arguments.size}",
                f"--data-dir={data}",
                f"--workdir={run}",
                f"--num-steps={arguments.num_steps}",
                f"--global-batch-size={arguments.global_batch_size}",
                "--learning-rate=1e-3",
                "--health-every-steps=30",
                "--log-every-steps=2",
            ],
            None,
        ),
        (report.main, [f"--workdir={run}", f"--out={out / 'report.html'}"], None),
    ]
    start = time.perf_counter()
    for command, flags, done in steps:
        name = command.__module__
        if done is not None and done.exists():
            console.print(f"[bold]{name}[/]: {done} is there, kept.", soft_wrap=True)
            continue
        console.print(f"[bold]python -m {name} {' '.join(flags)}[/]", soft_wrap=True)
        command(flags)
    console.print(f"Done in {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
