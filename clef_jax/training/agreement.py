"""Verifies that all processes share software, settings, data and workdir."""

import json
import pathlib
import platform
import secrets
import time
from typing import Any

from clef_jax import files, folder_lock, machine
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError
from clef_jax.setting import flag
from clef_jax.training import coordinator as coordinator_lib, ownership

SHARED_FOLDER_SECONDS = 15.0
"""Time after which another host must see a new file in the workdir (network file systems)."""

SIGN_FILE = ".process_0"
"""File by which the other processes recognise the workdir of process 0."""

_METADATA = "clef_jax/metadata/"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "clef_jax")


def agree(metadata: dict[str, Any], config: TrainConfig) -> None:
    """Compares the software, settings, data and workdir of this process with those of process 0.

    A process that trains alone compares nothing.

    Args:
        metadata: settings and the data's identity, as a checkpoint stores them, and anything else
            that must be equal.
        config: settings of the run.

    Raises:
        UserError: something differs, or another process does not reach this point in time.
    """
    coordinator = coordinator_lib.current()
    if not coordinator.has_joined:
        return
    process, limit_seconds = coordinator.process, config.join_timeout_seconds
    mine = metadata | {"software": software()}
    sign = config.folder / SIGN_FILE
    if process == 0:
        mine["sign"] = secrets.token_hex(8)
        files.make_folder(config.folder)
        with files.writing(sign):
            sign.write_text(mine["sign"])
    coordinator.write(_METADATA, json.dumps(mine))
    try:
        if process != 0:
            theirs = json.loads(_metadata_of_process_0(coordinator, limit_seconds))
            refuse_differences(process, mine, theirs)
            _refuse_other_folder(process, sign, theirs["sign"])
        coordinator.barrier("clef_jax/agreed", limit_seconds)
    except coordinator_lib.Unavailable as error:
        missing = sorted(set(coordinator.processes) - set(coordinator.read_all(_METADATA)))
        who = ", ".join(map(str, missing)) or "unknown"
        raise UserError(
            f"Process {who} did not finish opening its data within {limit_seconds:g} s. "
            "Check its output; a larger --join-timeout-seconds gives slow hosts more time."
        ) from error
    if process == 0:
        sign.unlink(missing_ok=True)


def _metadata_of_process_0(coordinator: coordinator_lib.Coordinator, limit_seconds: float) -> str:
    """Returns what process 0 wrote, which may first have to wait for the workdir's last owner."""
    try:
        return coordinator.wait_for(_METADATA, 0, limit_seconds)
    except coordinator_lib.Unavailable:
        if not coordinator.read_all(ownership.WAITS):
            raise
        return coordinator.wait_for(_METADATA, 0, folder_lock.SILENCE_SECONDS)


def software() -> dict[str, str]:
    """Returns the versions of Python and the packages that a step depends on, by name."""
    return {"Python": platform.python_version()} | machine.installed_versions(_PACKAGES)


def refuse_differences(process: int, mine: dict, theirs: dict) -> None:
    """Raises UserError if software, settings or data of a process differ from process 0's."""
    differences = []
    for kind in ("software", "config", "data"):
        here, there = mine.get(kind, {}), theirs.get(kind, {})
        for name in sorted({*here, *there} - TrainConfig.PER_PROCESS):
            if here.get(name) != there.get(name):
                values = f"({here.get(name)!r}, there {there.get(name)!r})"
                differences.append(
                    {
                        "software": f"{name} {values}",
                        "config": f"{flag(name)} {values}",
                        "data": f"the {name}",
                    }[kind]
                )
    if mine.get("saved_step") != theirs.get("saved_step"):
        differences.append(
            f"the newest checkpoint in its workdir (step {mine.get('saved_step')}, there "
            f"{theirs.get('saved_step')})"
        )
    if differences:
        raise UserError(
            f"Process {process} differs from process 0 in {'; '.join(differences)}. Start all "
            "processes with the same software, settings, data and shared workdir."
        )


def _refuse_other_folder(process: int, sign: pathlib.Path, wanted: str) -> None:
    """Raises UserError if the workdir of this process is not the folder of process 0."""
    deadline = time.monotonic() + SHARED_FOLDER_SECONDS
    while not (sign.exists() and sign.read_text() == wanted):
        if time.monotonic() > deadline:
            raise UserError(
                f"{sign.parent} is not the same folder for process {process} and process 0. Set "
                "--workdir to a folder that all hosts share, such as a network disk."
            )
        time.sleep(0.2)
