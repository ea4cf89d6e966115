"""Real training as several processes on this machine, through the script that users start.

XLA optimises little here: each process compiles for itself, and that is what takes the time where
the tests run for the first time.
"""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import processes
import pytest
from culprits import assert_names
from launch_scripts import LAUNCH, stub
from train_command import CHEAP_STEP, PREPARE, await_step, finish, flags, losses

pytestmark = pytest.mark.slow
GRACE_SECONDS = 30


def start(num_processes, data_dir, workdir, cheap_seconds=None, **settings):
    """The script with so many processes and the flags of other tests, but for these settings."""
    settings |= {"health_every_steps": 0}
    environment = {
        "PYTHON": str(trainer(workdir, cheap_seconds)),
        "PYTHONUNBUFFERED": "1",
        "PROCESSES": str(num_processes),
        "SAVE_SECONDS": "60",  # a hang of the trainer fails here, and not after CI's patience
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return processes.start(
        ["bash", LAUNCH / "train_workstation.sh", *flags(data_dir, workdir, **settings)],
        env=os.environ | environment,
        cwd=LAUNCH.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def trainer(workdir, cheap_seconds) -> pathlib.Path:
    """The interpreter as the script calls it, with the cache of compiled programs."""
    cheap = "" if cheap_seconds is None else CHEAP_STEP.format(cheap_seconds)
    code = f"{PREPARE}\n{cheap}\nsys.argv[1:3] = []\nfrom clef_jax import train; train.main()"
    folder = workdir.with_name(f"{workdir.name}_python")
    command = shlex.join([sys.executable, "-c", code])
    return stub(folder, "python", f'[ "$1 $2" = "-m clef_jax.train" ] && exec {command} "$@"')


def process_id(number: int, workdir) -> int:
    """That of the system, for the training process with this number in this folder."""
    found = subprocess.run(
        ["pgrep", "-f", f"process-id={number} .*--workdir={workdir} "],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = found.stdout.split()
    return int(line)


def test_four_processes_compute_what_one_does(data_dir, tmp_path):
    finish(start(1, data_dir, tmp_path / "one", num_steps=6))
    output = finish(start(4, data_dir, tmp_path / "four", num_steps=6))
    assert "[0] step 6/6" in output
    assert_names(output, "4 x cpu")
    one, four = losses(tmp_path / "one"), losses(tmp_path / "four")
    np.testing.assert_allclose(four[:3], one[:3], rtol=1e-5)
    assert len(four) == len(one) == 6


def test_two_processes_save_when_stopped_resume_and_end_when_one_is_killed(data_dir, tmp_path):
    settings = {"num_steps": 10_000, "checkpoint_every_steps": 10_000, "cheap_seconds": 0.1}
    process = start(2, data_dir, tmp_path, **settings)
    await_step(process, tmp_path, 4)
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    stopped = len(losses(tmp_path))
    assert re.search(rf"\[0\] .*after step {stopped}\b", output)

    process = start(2, data_dir, tmp_path, **settings)
    await_step(process, tmp_path, stopped + 2)
    killed = time.monotonic()
    os.kill(process_id(1, tmp_path), signal.SIGKILL)
    output, _ = process.communicate(timeout=2 * GRACE_SECONDS)
    assert time.monotonic() - killed < GRACE_SECONDS + 5
    assert process.returncode == 128 + signal.SIGKILL, output
    assert_names(output, f"after step {stopped}", "Process 1", "137")
