"""Do all processes of a run have the same software, settings and data, and one workdir?"""

import json
import pathlib
import platform
import secrets
import time
from typing import Any

import jax
from jax._src import distributed

from clef_jax import machine
from clef_jax.config import TrainConfig, flag
from clef_jax.errors import UserError
from clef_jax.training import watch

SHARED_FOLDER_SECONDS = 15.0
"""How long another host may need to see a new file in the workdir (network file systems)."""

SIGN_FILE = ".process_0"
"""By it the others know the workdir of process 0."""

OWN = frozenset(
    {"coordinator_address", "process_id", "data_dir", "noise_path", "workdir"}
    | {"compilation_cache_dir", "read_threads", "read_processes", "read_ahead_batches"}
)
"""Settings in which the processes of a run may differ; the data is compared by fingerprint."""

_FACTS = "clef_jax/facts/"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "clef_jax")


def agree(facts: dict[str, Any], config: TrainConfig) -> None:
    """Refuses to go on if this process has other software, settings or data than process 0, or
    another folder behind its workdir.

    `facts` are those of a checkpoint, and whatever else must be equal.

    Raises:
        UserError: something differs, or some processes do not come this far in time.
    """
    client = distributed.global_state.client
    if client is None:
        return
    process, limit_seconds = distributed.global_state.process_id, config.join_timeout_seconds
    mine = facts | {"software": software()}
    sign = config.folder / SIGN_FILE
    if process == 0:
        mine["sign"] = secrets.token_hex(8)
        config.folder.mkdir(parents=True, exist_ok=True)
        sign.write_text(mine["sign"])
    client.key_value_set(f"{_FACTS}{process}", json.dumps(mine))
    try:
        if process != 0:
            theirs = json.loads(client.blocking_key_value_get(f"{_FACTS}0", _ms(limit_seconds)))
            refuse_differences(process, mine, theirs)
            _refuse_other_folder(process, sign, theirs["sign"])
        client.wait_at_barrier("clef_jax/agreed", _ms(limit_seconds))
    except jax.errors.JaxRuntimeError as error:
        everybody = range(distributed.global_state.num_processes)
        missing = sorted(set(everybody) - set(watch.by_process(client, _FACTS)))
        who = ", ".join(map(str, missing)) or "another one"
        raise UserError(
            f"Process {who} did not come as far as reading its data within {limit_seconds:g} s. "
            "Look at its output; --join-timeout-seconds gives slow hosts more time."
        ) from error
    if process == 0:
        sign.unlink()


def software() -> dict[str, str]:
    """Versions that decide what a step computes."""
    return {"Python": platform.python_version()} | machine.installed_versions(_PACKAGES)


def refuse_differences(process: int, mine: dict, theirs: dict) -> None:
    """Raises UserError if the facts of a process are not those of process 0."""
    found = []
    for kind in ("software", "config", "data"):
        here, there = mine.get(kind, {}), theirs.get(kind, {})
        for name in sorted({*here, *there} - OWN):
            if here.get(name) != there.get(name):
                told = f"the {name}" if kind == "data" else flag(name)
                told = name if kind == "software" else told
                values = f" ({here.get(name)!r}, there {there.get(name)!r})"
                found.append(told + ("" if kind == "data" else values))
    if mine.get("saved_step") != theirs.get("saved_step"):
        found.append(
            f"the newest checkpoint in its workdir (step {mine.get('saved_step')}, there "
            f"{theirs.get('saved_step')})"
        )
    if found:
        raise UserError(
            f"Process {process} differs from process 0 in {'; '.join(found)}. Start all processes "
            "with the same software, settings and data, and one workdir that all of them see."
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


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
