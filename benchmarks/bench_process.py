"""Other benchmarks as processes: what they tell, and what their end means."""

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
"""Of a process that the system ended: it took more memory than the machine has."""


def flags(values: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them."""
    found = []
    for name, value in values.items():
        name = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{name}" if value else f"--no-{name}")
        else:
            found.append(f"--{name}={value}")
    return found


def step(*, environment: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
    """What `bench_step.py` tells of a step; `NO_STEP` if the system killed it.

    Raises:
        RuntimeError: it failed for another reason, which it tells on standard error.
    """
    command = [sys.executable, str(_FOLDER / "bench_step.py"), *flags(settings)]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    if ended.returncode == -signal.SIGKILL:
        return dict(NO_STEP)
    if ended.returncode:
        raise RuntimeError("The process of a training step failed; its own message is above.")
    return json.loads(ended.stdout.splitlines()[-1])


def plan(out: pathlib.Path, **settings: Any) -> dict[str, Any]:
    """What `clef_jax.plan` writes to the file `out`; one that is there already is kept."""
    if not out.exists():
        command = [sys.executable, "-m", "clef_jax.plan", *flags(settings), f"--json={out}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def pipeline(out: pathlib.Path, **settings: Any) -> dict[str, Any]:
    """What `pipeline.py` writes; `out` is a file that it may make."""
    command = [sys.executable, str(_FOLDER / "pipeline.py"), "--no-device", f"--json={out}"]
    # Reading needs no accelerator, and must not take the memory of one.
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [*command, *flags(settings)], stdout=subprocess.DEVNULL, env=environment, check=False
    )
    if ended.returncode:
        raise RuntimeError("Measuring the input pipeline failed; its own message is above.")
    return json.loads(out.read_text())
