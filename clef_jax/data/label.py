"""Stored labels of recordings as arrays, for objectives that learn from them.

Shapes: K columns of a label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import plugin
from clef_jax.data import index as index_lib
from clef_jax.errors import UserError

PREFIX = "label:"
"""Begins the name of a label's array in a batch."""


def find(index: index_lib.Index, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the descriptions of some stored labels of a data set, in the order of the names.

    Raises:
        UserError: the data set stores no such label, or it has no fixed number of columns.
    """
    known = {x["name"]: x for x in index_lib.read_metadata(index.version_dir)["labels"]}
    for name in names:
        if name not in known:
            words = plugin.unknown("label", name, sorted(known))
            raise UserError(f"{index.dataset} does not store it. {words}", problem="unknown_label")
        if known[name]["kind"] == "numbers":
            raise UserError(
                f"The label {name!r} of {index.dataset} holds several numbers for each recording; "
                "an objective takes classes or one number.",
                problem="wrong_label_kind",
            )
    return [known[name] for name in names]


def width(label: Mapping[str, Any]) -> int:
    """Returns the number of columns of a label: its classes, or one for a number."""
    return 1 if label["kind"] == "number" else len(label["classes"])


def encode(label: Mapping[str, Any], value: Any) -> np.ndarray:
    """Returns a label as numbers, float32 [K]: 0 or 1 for each class, or the number.

    All are NaN where the label is unknown: no class name, or NaN. An empty set of classes is a set.
    """
    if label["kind"] == "number":
        return np.array([value], np.float32)
    present = [value] if label["kind"] == "class" else value
    if label["kind"] == "class" and not value:
        return np.full(len(label["classes"]), np.nan, np.float32)
    return np.array([name.encode() in present for name in label["classes"]], np.float32)
