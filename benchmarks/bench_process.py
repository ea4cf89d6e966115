"""Runs other benchmarks as processes and reads their results."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_FOLDER = pathlib.Path(__file__).resolve().parent

NO_STEP = {"fits": False, "peak_bytes": None, "available_bytes": None}
"""Outcome of a process that the system killed, because it needed more memory than there is."""


def flags(values: Mapping[str, Any]) -> list[str]:
    """Returns settings as command-line flags."""
    arguments = []
    for name, value in values.items():
        name = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        else:
            arguments.append(f"--{name}={value}")
    return arguments


def step(*, environment: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
    """Returns the outcome that `bench_step.py` prints; `NO_STEP` if the system killed it.

    Raises:
        RuntimeError: the process failed for another reason, which it prints to standard error.
    """
    command = [sys.executable, str(_FOLDER / "bench_step.py"), *flags(settings)]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    if ended.returncode == -signal.SIGKILL:
        return dict(NO_STEP)
    if ended.returncode:
        raise RuntimeError("The process of a training step failed; see its message above.")
    return json.loads(ended.stdout.splitlines()[-1])


def plan(out: pathlib.Path, **settings: Any) -> dict[str, Any]:
    """Returns the plan that `clef_jax.plan` writes to `out`; an existing file is reused."""
    if not out.exists():
        command = [sys.executable, "-m", "clef_jax.plan", *flags(settings), f"--json={out}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def pipeline(out: pathlib.Path, **settings: Any) -> dict[str, Any]:
    """Returns the results of `pipeline.py`; `out` is the file for them."""
    command = [sys.executable, str(_FOLDER / "pipeline.py"), "--no-device", f"--json={out}"]
    # Reading needs no accelerator, and must not reserve its memory.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [*command, *flags(settings)], stdout=subprocess.DEVNULL, env=environment, check=False
    )
    if ended.returncode:
        raise RuntimeError("The measurement of the input pipeline failed; see its message above.")
    return json.loads(out.read_text())
