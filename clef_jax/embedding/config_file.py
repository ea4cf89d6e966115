"""Reads and writes the JSON files of a model folder."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from clef_jax import files
from clef_jax.errors import UserError

CONFIG = "config.json"


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a JSON file of a model folder.

    Raises:
        UserError: the file is missing or does not hold a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} is not a complete model folder: {path.name} is missing."
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}.", problem="not_json") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a JSON object.", problem="no_object")
    return value


def write(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes an object as a JSON file; an interrupted write changes nothing."""
    files.write_text(path, json.dumps(value, indent=2) + "\n")
