"""The training command as processes of their own, on simulated devices, for tests to disturb."""

import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import compile_cache
import forked
import jax
import numpy as np
import processes
from fault_costs import lost_bytes as lost_bytes, seconds_to_end, user_bytes as user_bytes

from clef_jax import mesh as mesh_lib
from clef_jax.config import TrainConfig, from_saved
from clef_jax.training import (
    CHECKPOINTS_FOLDER,
    checkpoint,
    logs,
    saved_run,
    state as state_lib,
    timeline,
)

STEPS = 24
FINISH_SECONDS = 300
WITHIN_SECONDS = 60
"""In which processes that cannot train together end."""
HANG_SECONDS = 90
"""No test waits longer for a process that ought to end by itself."""

PREPARE = f"""
import sys
class WithoutTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, WithoutTorch())
sys.path.append({str(pathlib.Path(__file__).parent)!r})
import compile_cache, jax
compile_cache.use()
jax.config.update("jax_platforms", "cpu")
"""
"""What each training process runs first. Training needs no PyTorch, but TensorBoard's writer would
import it where it is installed, which takes as long as all other imports."""

CHEAP_STEP = """
import cheap_step
cheap_step.use(seconds={})
"""


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
        "compilation_cache_dir": compile_cache.FOLDER,
        **settings,
    }
    names = {name: name.replace("_", "-") for name in settings}
    return [
        f"--{'' if value else 'no-'}{names[name]}"
        if isinstance(value, bool)
        else f"--{names[name]}={value}"
        for name, value in settings.items()
    ]


def start(data_dir, workdir, *, num_devices=1, before="", cheap_seconds=None, **settings):
    """The command as a process, with so many simulated devices; runs the code `before` first.

    With `cheap_seconds`, steps cost nothing, last so long and compute no representation.
    """
    if cheap_seconds is not None:
        before = CHEAP_STEP.format(cheap_seconds) + before
        settings = {"health_every_steps": 0} | settings
    code = (
        f"{PREPARE}\n"
        f"jax.config.update('jax_num_cpu_devices', {num_devices})\n"
        f"{before}\n"
        "from clef_jax import train; train.main()"
    )
    arguments = flags(data_dir, workdir, **settings)
    if forked.AVAILABLE:
        return _server().start(code, arguments, dict(os.environ))
    return processes.start(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@functools.cache
def _server() -> forked.Server:
    """A process that has imported what training imports, which takes as long as a short run."""
    return forked.Server(f"{PREPARE}\nimport cheap_step\nfrom clef_jax.training import run\n")


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
    begin = time.monotonic()
    output, _ = process.communicate(timeout=within_seconds)
    seconds_to_end.append(time.monotonic() - begin)
    assert process.returncode == 1, output
    return " ".join(output.split())


def await_step(process, workdir, step, *, saved=False):
    """Until the metrics of a run reach a step, or its process has ended.

    With `saved`, also until a checkpoint is complete: on a slow disk, it takes several steps.
    """
    workdir = pathlib.Path(workdir)
    deadline = time.monotonic() + FINISH_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        reached = any(line["step"] >= step for line in logs.read(workdir))
        if reached and (has_checkpoint(workdir) or not saved):
            break
        time.sleep(0.02)


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Whether a checkpoint is complete; until then, its folder's name is not its step alone."""
    return any(path.name.isdigit() for path in (workdir / CHECKPOINTS_FOLDER).glob("*"))


def kill_after(process, workdir, step, which=signal.SIGKILL, *, saved=False):
    await_step(process, workdir, step, saved=saved)
    begin = time.monotonic()
    process.send_signal(which)
    output = process.communicate(timeout=120)[0]
    seconds_to_end.append(time.monotonic() - begin)
    return output


def losses(workdir):
    return [line["loss"] for line in logs.read(pathlib.Path(workdir)) if "loss" in line]


def final_params(workdir) -> list[np.ndarray]:
    with checkpoint.Checkpoints(pathlib.Path(workdir)) as checkpoints:
        step = checkpoints.latest_step
        assert step == STEPS
        config = from_saved(checkpoints.run(step)["config"])
    params = saved_run.restore_params(pathlib.Path(workdir), abstract_params(config.size))
    return jax.tree.leaves(jax.device_get(params))


@functools.cache
def abstract_params(size):
    """Shapes and shardings of the parameters, which depend on no other setting."""
    config = TrainConfig(data_dir="", workdir="", size=size)
    trainer = state_lib.make_trainer(config, lambda _: 0.0, mesh_lib.make_mesh(jax.devices()[:1]))
    return state_lib.abstract_state(trainer).params


def assert_same_bits(workdir, other):
    """Two runs ended with the same parameters, and logged the same losses on the way."""
    for a, b in zip(final_params(workdir), final_params(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert losses(workdir) == losses(other)


def assert_same_params(workdir, other):
    """Two runs on different devices ended with the same parameters, up to rounding."""
    for a, b in zip(final_params(workdir), final_params(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def num_repeated_steps(workdir) -> int:
    """The steps that a run lost and computed again; it must have logged every step once."""
    lines = [line for line in logs.read(pathlib.Path(workdir)) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return timeline.summary(workdir).num_repeated_steps
