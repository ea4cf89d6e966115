"""The training command as processes of their own, on simulated devices, for tests to disturb."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np

from clef_jax import mesh as mesh_lib
from clef_jax.config import from_saved
from clef_jax.training import checkpoint, logs, state as state_lib

STEPS = 24
FINISH_SECONDS = 300
WITHIN_SECONDS = 60
"""In which processes that cannot train together end."""


def flags(data_dir, workdir, **settings):
    settings = {
        "data_dir": data_dir,
        "workdir": workdir,
        "size": "tiny",
        "global_batch_size": 8,
        "num_steps": STEPS,
        "window_seconds": 2.0,
        "checkpoint_every_steps": 5,
        "log_every_steps": 1,
        "health_every_steps": 10,
        "learning_rate": 1e-3,
        "compilation_cache_dir": jax.config.jax_compilation_cache_dir,
        **settings,
    }
    names = {name: name.replace("_", "-") for name in settings}
    return [
        f"--{'' if value else 'no-'}{names[name]}"
        if isinstance(value, bool)
        else f"--{names[name]}={value}"
        for name, value in settings.items()
    ]


def start(data_dir, workdir, *, num_devices=1, before="", **settings):
    """The command as a process, with so many simulated devices; runs the code `before` first."""
    code = (
        "import jax; jax.config.update('jax_platforms', 'cpu'); "
        f"jax.config.update('jax_num_cpu_devices', {num_devices}); "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)\n"
        f"{before}\n"
        "from clef_jax import train; train.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *flags(data_dir, workdir, **settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def start_together(data_dir, workdir, num_processes=2, *, address=None, each=None, **settings):
    """So many processes of one run; `each` holds further settings of some, by their number."""
    address = address or free_address()
    settings |= {"data_dir": data_dir, "workdir": workdir, "num_processes": num_processes}
    settings |= {"coordinator_address": address}
    return [
        start(**settings | {"process_id": number} | (each or {}).get(number, {}))
        for number in range(num_processes)
    ]


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def finish(process):
    output, _ = process.communicate(timeout=FINISH_SECONDS)
    assert process.returncode == 0, output
    return output


def fail(process, within_seconds):
    """What a process that ends with an error says, in one line; it must end in time."""
    output, _ = process.communicate(timeout=within_seconds)
    assert process.returncode == 1, output
    return " ".join(output.split())


def await_step(process, workdir, step):
    """Until the metrics of a run reach a step, or its process has ended."""
    deadline = time.monotonic() + FINISH_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if any(line["step"] >= step for line in logs.read(pathlib.Path(workdir))):
            break
        time.sleep(0.02)


def kill_after(process, workdir, step, which=signal.SIGKILL):
    await_step(process, workdir, step)
    process.send_signal(which)
    return process.communicate(timeout=120)[0]


def losses(workdir):
    return [line["loss"] for line in logs.read(pathlib.Path(workdir)) if "loss" in line]


def final_params(workdir) -> list[np.ndarray]:
    with checkpoint.Checkpoints(pathlib.Path(workdir)) as checkpoints:
        step = checkpoints.latest_step
        assert step == STEPS
        config = from_saved(checkpoints.run(step)["config"])
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    trainer = state_lib.make_trainer(config, lambda _: 0.0, mesh)
    abstract = state_lib.abstract_state(trainer).params
    params = checkpoint.restore_params(pathlib.Path(workdir), abstract)
    return jax.tree.leaves(jax.device_get(params))


def assert_same_bits(workdir, other):
    """Two runs ended with the same parameters, and told the same losses on the way."""
    for a, b in zip(final_params(workdir), final_params(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert losses(workdir) == losses(other)
