"""Encodes stored labels of recordings as arrays, for objectives that learn from them.

Shapes: K columns of a label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import objectives, plugin
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib
from clef_jax.errors import UserError

PREFIX = "label:"
"""Prefix of the name of a label's array in a batch."""


def find(index: index_lib.Index, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the descriptions of some stored labels of a data set, in the order of the names.

    Raises:
        UserError: the data set does not store a label, or the label's kind is `numbers`, which has
            no fixed number of columns.
    """
    known = {x["name"]: x for x in index_lib.read_metadata(index.version_dir)["labels"]}
    for name in names:
        if name not in known:
            raise UserError(
                plugin.unknown(f"label of {index.dataset}", name, sorted(known)),
                problem="unknown_label",
            )
        if known[name]["kind"] == "numbers":
            raise UserError(
                f"The label {name!r} of {index.dataset} holds several numbers for each recording; "
                "an objective needs a label with classes or with one number.",
                problem="wrong_label_kind",
            )
    return [known[name] for name in names]


def widths(index: index_lib.Index, config: TrainConfig) -> dict[str, int]:
    """Returns the number of columns of each label that the objective of a run requests, by name.

    Raises:
        UserError: as `find`, or the objective does not take labels of such a kind.
    """
    kinds = objectives.load_one(config.objective).label_kinds
    labels = find(index, config.label_names)
    for label in labels:
        if label["kind"] not in kinds:
            raise UserError(
                f"The label {label['name']!r} of {index.dataset} holds a number; the objective "
                f"{config.objective!r} needs a label with classes.",
                problem="wrong_label_kind",
            )
    return {label["name"]: width(label) for label in labels}


def common_widths(indexes: Sequence[index_lib.Index], config: TrainConfig) -> dict[str, int]:
    """Returns the widths of the labels that the objective of a run requests from its data sets.

    Raises:
        UserError: as `widths` for each data set, or two data sets define a label differently.
    """
    first, *others = indexes
    wanted = find(first, config.label_names)
    for index in others:
        widths(index, config)
        for label, own in zip(wanted, find(index, config.label_names), strict=True):
            if any(label[key] != own[key] for key in ("kind", "classes")):
                raise UserError(
                    f"The label {label['name']!r} has other classes in {index.dataset} than in "
                    f"{first.dataset}; an objective can learn it from one of them only.",
                    problem="different_classes",
                )
    return widths(first, config)


def width(label: Mapping[str, Any]) -> int:
    """Returns the number of columns of a label: the number of its classes, or 1 for a number."""
    return 1 if label["kind"] == "number" else len(label["classes"])


def encode(label: Mapping[str, Any], value: Any) -> np.ndarray:
    """Returns a label as numbers, float32 [K]: 0 or 1 for each class, or the number itself.

    All are NaN if the label is unknown, that is, an empty class name or NaN. An empty set of
    classes is known: it gives zeros.

    Args:
        label: description of the label, as `find` returns it.
        value: stored value of the label, as `metadata.read` returns it.
    """
    if label["kind"] == "number":
        return np.array([value], np.float32)
    present = [value] if label["kind"] == "class" else value
    if label["kind"] == "class" and not value:
        return np.full(len(label["classes"]), np.nan, np.float32)
    return np.array([name.encode() in present for name in label["classes"]], np.float32)
