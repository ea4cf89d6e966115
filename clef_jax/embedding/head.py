"""Linear heads on an encoder's features, and how a model folder stores them.

The arrays are in `head.safetensors`; names, layer and kind are the object "head" of `config.json`.

Shapes: K outputs, D features of the layer.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from clef_jax.convert import safetensors_file
from clef_jax.embedding import config_file
from clef_jax.embedding.config_file import CONFIG
from clef_jax.errors import UserError

KINDS = ("binary", "multiclass", "multilabel", "regression")

ARRAYS = "head.safetensors"
OLD_CLASSIFIER = "classifier.safetensors"
"""File of model folders from before heads had names: `dense.weight` and `dense.bias`."""

_ENTRY = "head"
_OLD_WEIGHT, _OLD_BIAS = "dense.weight", "dense.bias"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Maps the features of a layer to outputs.

    `logits = features @ weight.T + bias`. An output is `sigmoid(logits)` of a binary or multilabel
    head, `softmax(logits)` of a multiclass one, and `logits * scale + centre` of a regression.
    """

    weight: np.ndarray
    """Weight of each feature for each output, [K, D]."""
    bias: np.ndarray
    """Bias of each output, [K]."""
    names: tuple[str, ...]
    """Name of each output."""
    layer: str
    """Layer of the encoder whose features it reads."""
    kind: str
    """One of `KINDS`."""
    centre: np.ndarray
    """Offset of each output, [K]; 0 except in a regression."""
    scale: np.ndarray
    """Factor of each output, [K]; 1 except in a regression."""

    @classmethod
    def of_classes(
        cls, weight: np.ndarray, bias: np.ndarray, *, layer: str, kind: str = "multilabel"
    ) -> "Head":
        """Returns the head of a classifier whose classes have no names but numbers."""
        count = len(bias)
        names = tuple(f"class_{number}" for number in range(count))
        return cls(
            weight=weight,
            bias=bias,
            names=names,
            layer=layer,
            kind=kind,
            centre=np.zeros(count),
            scale=np.ones(count),
        )


def save(folder: pathlib.Path, head: Head) -> None:
    """Adds a head to a model folder; a head that the folder holds already is replaced.

    Raises:
        UserError: the folder is no complete model, or the head does not fit it.
    """
    config = config_file.read(folder / CONFIG)
    write_arrays(folder, head, config)
    config_file.write(folder / CONFIG, {**config, _ENTRY: entry(head)})


def load(folder: pathlib.Path) -> Head | None:
    """Returns the head of a model folder; None if it has none.

    Raises:
        UserError: the head is damaged, or does not fit the model; the message names the file.
    """
    config = config_file.read(folder / CONFIG)
    if _ENTRY not in config:
        return _load_old(folder, config)
    path, described = folder / ARRAYS, _described(folder / CONFIG, config[_ENTRY])
    if not path.is_file():
        raise UserError(
            f"{path} is missing, which holds the head that {CONFIG} describes. Copy the whole "
            "folder again.",
            problem="missing_head",
        )
    arrays = safetensors_file.read_safetensors(path)
    names = ("weight", "bias", "centre", "scale")
    if set(arrays) != set(names):
        raise UserError(
            f"{path} must hold {', '.join(names)}, but holds {', '.join(arrays) or 'nothing'}.",
            problem="wrong_head_arrays",
        )
    head = Head(**arrays, **described)
    _check(path, head, config)
    return head


def write_arrays(folder: pathlib.Path, head: Head, config: Mapping[str, Any]) -> None:
    """Writes the arrays of a head for the model of a configuration, but not its description.

    Raises:
        UserError: the head does not fit the model.
    """
    path = folder / ARRAYS
    _check(path, head, config)
    arrays = {name: getattr(head, name) for name in ("weight", "bias", "centre", "scale")}
    safetensors_file.write_safetensors(path, arrays, {"format": "pt"})
    (folder / OLD_CLASSIFIER).unlink(missing_ok=True)


def remove(folder: pathlib.Path) -> None:
    """Removes the arrays of a head, of either layout, from a folder that is rewritten."""
    for name in (ARRAYS, OLD_CLASSIFIER):
        (folder / name).unlink(missing_ok=True)


def entry(head: Head) -> dict[str, Any]:
    """Returns the entry of a head in `config.json`."""
    return {"names": list(head.names), "layer": head.layer, "kind": head.kind}


def _described(path: pathlib.Path, value: Any) -> dict[str, Any]:
    """Returns names, layer and kind of a head from its entry in a configuration."""
    entries = value if isinstance(value, dict) else {}
    names, layer, kind = (entries.get(key) for key in ("names", "layer", "kind"))
    texts = [*names, layer, kind] if isinstance(names, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(
            f'"{_ENTRY}" in {path} must have a list of "names", a "layer" and a "kind".',
            problem="wrong_head_entry",
        )
    return {"names": tuple(texts[:-2]), "layer": layer, "kind": kind}


def _check(path: pathlib.Path, head: Head, config: Mapping[str, Any]) -> None:
    """Raises UserError if the arrays of a file disagree with the names or with the model."""
    layers = config.get("layers", {})
    if head.kind not in KINDS:
        raise UserError(
            f"The head in {path} is of the unknown kind {head.kind!r}. Available: "
            f"{', '.join(KINDS)}.",
            problem="unknown_head_kind",
        )
    if head.layer not in layers:
        raise UserError(
            f"The head in {path} reads the layer {head.layer!r}, which the model does not have. "
            f"Available: {', '.join(layers)}.",
            problem="unknown_head_layer",
        )
    count, width = len(head.names), layers[head.layer]
    wanted = {"weight": (count, width), "bias": (count,), "centre": (count,), "scale": (count,)}
    shapes = {name: np.shape(getattr(head, name)) for name in wanted}
    wrong = [
        f"{name} is {list(shapes[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if shapes[name] != shape
    ]
    if wrong or len(set(head.names)) < count:
        reason = "; ".join(wrong) or "two outputs have one name"
        raise UserError(
            f"The head in {path} does not fit its {count} names and the {width} features of "
            f"{head.layer}: {reason}.",
            problem="misshapen_head",
        )


def _load_old(folder: pathlib.Path, config: Mapping[str, Any]) -> Head | None:
    """Returns the classifier of a model folder from before heads had names; None without one."""
    path, layers = folder / OLD_CLASSIFIER, list(config.get("layers", {}))
    if not path.is_file() or not layers:
        return None
    arrays = safetensors_file.read_safetensors(path)
    if set(arrays) != {_OLD_WEIGHT, _OLD_BIAS} or arrays[_OLD_BIAS].ndim != 1:
        return None
    head = Head.of_classes(arrays[_OLD_WEIGHT], arrays[_OLD_BIAS], layer=layers[-1])
    _check(path, head, config)
    return head
