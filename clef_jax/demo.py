"""Simulates a cohort, prepares it, pre-trains a small encoder and writes a page about the run.

`python -m clef_jax.demo --out=DIR`

Takes a few minutes on a laptop. Each step is the same command as for real data.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

import rich.console
import rich.markup

from clef_jax import command_line, files, prepare, report, simulate, train
from clef_jax.errors import UserError, counted, exit_on_user_error, invocation

_PAGE = "report.html"
_SEED = 0
"""Seed of the simulated cohort."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Simulates a cohort, prepares it, pre-trains a small encoder and writes a page about the
    run."""

    out: str = "demo"
    """Folder for all results. A second start keeps finished parts and resumes training."""
    patients: int = 256
    """Number of simulated patients."""
    size: str = "small"
    """Size of the encoder."""
    num_steps: int = 120
    """Number of optimiser steps."""
    global_batch_size: int = 32
    """Number of patients per step."""


SETTINGS = Arguments

Step = tuple[Callable[[Sequence[str]], None], list[str], pathlib.Path | None]
"""A command, its arguments, and what exists if it need not run again."""


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        arguments = command_line.parse(SETTINGS, argv, "demo")
        out = pathlib.Path(arguments.out).expanduser().resolve()
        steps = steps_of(arguments, out)
        check(arguments, out, steps)
    console = rich.console.Console(highlight=False)
    start = time.perf_counter()
    for command, flags, done in steps:
        name = command.__module__.rpartition(".")[2]
        if done is not None and done.exists():
            console.print(f"[bold]{name}[/]: kept {done}, which exists already.", soft_wrap=True)
            continue
        line = invocation(" ".join([name, *flags]))
        console.print(f"[bold]{rich.markup.escape(line)}[/]", soft_wrap=True)
        command(flags)
    console.print(f"Done in {time.perf_counter() - start:.0f} s.")


def steps_of(arguments: Arguments, out: pathlib.Path) -> list[Step]:
    """Returns the commands of the demo in their order."""
    raw, data, run = out / "raw", out / "data", out / "run"
    return [
        (
            simulate.main,
            [f"--patients={arguments.patients}", f"--seed={_SEED}", f"--out={raw}"],
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
        (report.main, [f"--workdir={run}", f"--out={out / _PAGE}"], None),
    ]


def check(arguments: Arguments, out: pathlib.Path, steps: Sequence[Step]) -> None:
    """Checks the options of all steps before the first one.

    Raises:
        UserError: an option is wrong, there are fewer patients than a step needs, or the folder
            cannot be written or holds another report.html.
    """
    from clef_jax.training import arguments as training_arguments, page

    files.check_output_folder(out)
    files.check_output(out / _PAGE, page.is_page, can_overwrite=False)
    for command, flags, done in steps:
        if command is simulate.main:
            command_line.parse(simulate.SETTINGS, flags, "simulate")
            if done is not None and not done.exists():
                _check_patients(arguments)
        elif command is train.main:
            training_arguments.parse(flags)


def _check_patients(arguments: Arguments) -> None:
    """Raises UserError if the training split would have fewer patients than a step."""
    from clef_jax.building import listing
    from clef_jax.simulation import patient

    subjects = (patient.sample(_SEED, number).subject_id for number in range(arguments.patients))
    num = sum(listing.patient_split(str(subject)) == "train" for subject in subjects)
    if num < arguments.global_batch_size:
        raise UserError(
            f"--patients={arguments.patients} gives {counted(num, 'training patient')}, fewer than "
            f"--global-batch-size={arguments.global_batch_size}; simulate more patients, or use "
            "fewer per step.",
            problem="too_few_patients",
        )


if __name__ == "__main__":
    main()
