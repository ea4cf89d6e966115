"""Verifies that all processes share software, settings, data and workdir."""

import json
import pathlib
import platform
import secrets
import time
from typing import Any

from clef_jax import machine
from clef_jax.config import TrainConfig, flag
from clef_jax.errors import UserError
from clef_jax.training import coordinator as coordinator_lib

SHARED_FOLDER_SECONDS = 15.0
"""Time after which another host must see a new file in the workdir (network file systems)."""

SIGN_FILE = ".process_0"
"""File by which the other processes recognise the workdir of process 0."""

_FACTS = "clef_jax/facts/"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "clef_jax")


def agree(facts: dict[str, Any], config: TrainConfig) -> None:
    """Compares the software, settings, data and workdir of this process with those of process 0.

    `facts` are those that a checkpoint keeps, and whatever else must be equal. A process that
    trains alone compares nothing.

    Raises:
        UserError: something differs, or some processes do not come this far in time.
    """
    coordinator = coordinator_lib.current()
    if not coordinator.has_joined:
        return
    process, limit_seconds = coordinator.process, config.join_timeout_seconds
    mine = facts | {"software": software()}
    sign = config.folder / SIGN_FILE
    if process == 0:
        mine["sign"] = secrets.token_hex(8)
        config.folder.mkdir(parents=True, exist_ok=True)
        sign.write_text(mine["sign"])
    coordinator.write(_FACTS, json.dumps(mine))
    try:
        if process != 0:
            theirs = json.loads(coordinator.wait_for(_FACTS, 0, limit_seconds))
            refuse_differences(process, mine, theirs)
            _refuse_other_folder(process, sign, theirs["sign"])
        coordinator.barrier("clef_jax/agreed", limit_seconds)
    except coordinator_lib.Unavailable as error:
        missing = sorted(set(coordinator.processes) - set(coordinator.read_all(_FACTS)))
        who = ", ".join(map(str, missing)) or "another one"
        raise UserError(
            f"Process {who} did not come as far as reading its data within {limit_seconds:g} s. "
            "Look at its output; --join-timeout-seconds gives slow hosts more time."
        ) from error
    if process == 0:
        sign.unlink()


def software() -> dict[str, str]:
    """Returns the versions that decide what a step computes, by package."""
    return {"Python": platform.python_version()} | machine.installed_versions(_PACKAGES)


def refuse_differences(process: int, mine: dict, theirs: dict) -> None:
    """Raises UserError if the facts of a process are not those of process 0."""
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
            "processes with the same software, settings and data, and one workdir that all of them "
            "see."
        )


def _refuse_other_folder(process: int, sign: pathlib.Path, wanted: str) -> None:
    deadline = time.monotonic() + SHARED_FOLDER_SECONDS
    while not (sign.exists() and sign.read_text() == wanted):
        if time.monotonic() > deadline:
            raise UserError(
                f"Process {process} finds another folder at {sign.parent} than process 0 does. The "
                "workdir must be one that all hosts see, such as a network disk."
            )
        time.sleep(0.2)
