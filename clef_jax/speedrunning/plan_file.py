"""The file in a run's folder that keeps what its first start decided, so that it can resume."""

import dataclasses
import json
import secrets
from collections.abc import Mapping
from typing import Any

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.speedrunning.settings import Config

PLAN_FILE = "speedrun.json"
_NOT_IN_REQUEST = (
    "data_dir",
    "out",
    "records",
    "table",
    "price_per_hour",
    "name",
    "render",
    "check",
)
"""Settings that may change when a run resumes."""


def write(config: Config, settings: Mapping[str, Any], measured: Any) -> dict[str, Any]:
    """Writes and returns a new plan.

    Args:
        config: the command's settings.
        settings: settings of the training, as JSON values.
        measured: measured speed, as a JSON value.
    """
    plan = {
        "request": request(config),
        "token": secrets.token_hex(8),
        "settings": dict(settings),
        "measured": measured,
    }
    files.make_folder(config.folder)
    files.write_text(config.folder / PLAN_FILE, json.dumps(plan, indent=1) + "\n")
    return plan


def request(config: Config) -> dict[str, Any]:
    """Returns the settings that decide a run, as JSON values."""
    values = dataclasses.asdict(config)
    kept = {name: value for name, value in values.items() if name not in _NOT_IN_REQUEST}
    return json.loads(json.dumps(kept))


def read(config: Config) -> dict[str, Any]:
    """Returns what an earlier start in the folder decided; empty if there was none.

    Raises:
        UserError: the file is damaged or was written by another program.
    """
    path = config.folder / PLAN_FILE
    if not path.exists():
        return {}
    if not files.is_json_with(path, ("request", "token", "settings", "measured")):
        raise UserError(
            f"{path} was not written by this command; choose another --out.",
            problem="foreign_file",
        )
    return json.loads(path.read_text(encoding="utf-8"))


def refuse_changes(config: Config, plan: Mapping[str, Any]) -> None:
    """Raises UserError if the folder holds a run with other settings."""
    old, new = plan["request"], request(config)
    changed = [name for name in new if name in old and old[name] != new[name]]
    if changed:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise UserError(
            f"{config.folder} holds a run with other settings ({flags} changed); use the earlier "
            "ones, or another --out.",
            problem="changed_run",
        )
