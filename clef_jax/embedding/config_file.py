"""The JSON files of a model folder."""

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
        UserError: the file is missing, or holds other than a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path.parent} is no complete model: it lacks {path.name}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.", problem="not_json") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold an object.", problem="no_object")
    return value


def write(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes an object as a JSON file, whole or not at all."""
    files.write_text(path, json.dumps(value, indent=2) + "\n")
