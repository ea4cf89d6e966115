"""Real training as several processes on this machine, through the script that users start.

XLA optimises little here: each process compiles for itself, and that is what takes the time.
"""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from culprits import assert_names
from launch_scripts import LAUNCH
from train_command import await_step, finish, flags, losses

pytestmark = pytest.mark.slow
GRACE_SECONDS = 30


def start(num_processes, data_dir, workdir, **settings):
    """The script with so many processes and the flags of other tests, but for these settings."""
    settings |= {"health_every_steps": 0}
    environment = {
        "PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "PROCESSES": str(num_processes),
        "SAVE_SECONDS": "60",  # a hang of the trainer fails here, and not after CI's patience
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        ["bash", LAUNCH / "train_workstation.sh", *flags(data_dir, workdir, **settings)],
        env=os.environ | environment,
        cwd=LAUNCH.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory) -> list[float]:
    """The losses of one process."""
    workdir = tmp_path_factory.mktemp("alone")
    finish(start(1, data_dir, workdir, num_steps=6))
    return losses(workdir)


def test_four_processes_compute_what_one_does(data_dir, alone, tmp_path):
    output = finish(start(4, data_dir, tmp_path, num_steps=6))
    assert "[0] step 6/6" in output
    assert_names(output, "4 x cpu")
    np.testing.assert_allclose(losses(tmp_path)[:3], alone[:3], rtol=1e-5)
    assert len(losses(tmp_path)) == len(alone) == 6


def test_two_processes_do_too_save_when_stopped_resume_and_end_when_one_is_killed(
    data_dir, alone, tmp_path
):
    settings = {"num_steps": 10_000, "checkpoint_every_steps": 10_000}
    process = start(2, data_dir, tmp_path, **settings)
    await_step(process, tmp_path, 4)
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    stopped = len(losses(tmp_path))
    assert re.search(rf"\[0\] .*after step {stopped}\b", output)
    np.testing.assert_allclose(losses(tmp_path)[:3], alone[:3], rtol=1e-5)

    process = start(2, data_dir, tmp_path, **settings)
    await_step(process, tmp_path, stopped + 2)
    killed = time.monotonic()
    os.kill(process_id(1, tmp_path), signal.SIGKILL)
    output, _ = process.communicate(timeout=2 * GRACE_SECONDS)
    assert time.monotonic() - killed < GRACE_SECONDS + 5
    assert process.returncode == 128 + signal.SIGKILL, output
    assert_names(output, f"after step {stopped}", "Process 1", "137")
