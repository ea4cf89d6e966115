"""Files of encoder weights: Lightning `.ckpt`, PyTorch `.pt` and `.pth`, and `.safetensors`.

What a file is, is told from its first bytes, not from its name. Nothing in a file is ever run, and
what it claims is checked before memory is spent on it (`torch_archive`, `safetensors_file`). Every
file is written whole or not at all.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from clef_jax import files
from clef_jax.convert import torch_archive, weights
from clef_jax.convert.file_kind import detect, listed
from clef_jax.convert.safetensors_file import read_safetensors, write_safetensors
from clef_jax.errors import UserError
from clef_jax.models import SIZES, Net1D

__all__ = [
    "StateDict",
    "infer_size",
    "read",
    "read_safetensors",
    "write_lightning",
    "write_safetensors",
    "write_state_dict",
]

Kind = Literal["lightning", "state_dict", "safetensors"]
_HEAD = "dense."
_ROOTS = ("first_conv.", "first_bn.", "stage_list.", _HEAD)
"""What the names of an encoder's weights start with, and those of ECGFounder's classifier."""


@dataclasses.dataclass(frozen=True, eq=False)
class StateDict:
    """The weights of a file."""

    arrays: dict[str, np.ndarray]
    """By the reference's names, without `backbone.`; half precision is float32 here."""
    kind: Kind
    num_unused_norms: int
    """Batch-norm tensors among the arrays, which the reference does not use."""
    notes: tuple[str, ...]
    """Sentences for the user, about what was found and left out."""


def read(path: str | pathlib.Path) -> StateDict:
    """Reads the weights of an encoder from a file of any known kind.

    Raises:
        UserError: the file is missing, damaged, of no known kind or may not be opened safely; or
            it holds weights of something else than an encoder. Says what to do.
    """
    path = pathlib.Path(path)
    notes = []
    kind: Kind = "safetensors"
    if detect(path) == "safetensors":
        arrays = read_safetensors(path)
    else:
        archive = torch_archive.read(path)
        arrays, kind = archive.arrays, "lightning" if archive.from_lightning else "state_dict"
        if archive.others:
            notes.append(f"Left out, beside the weights: {listed(archive.others)}.")
    arrays = _bare(path, arrays)
    norms = [key for key in arrays if weights.is_norm(key)]
    if norms:
        notes.append(f"Accepted {len(norms)} batch-norm tensors that the encoder does not use.")
    if any(arrays[key].any() for key in norms if key.endswith(weights.COUNT)):
        notes.append(
            "Its batch norms have counted batches, so they were used in training: check that the "
            "network which these weights come from works without them."
        )
    if any(key.startswith(_HEAD) for key in arrays):
        notes.append("It holds a classifier (dense), as ECGFounder's files do.")
    return StateDict(arrays, kind, len(norms), tuple(notes))


def _bare(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by their names without prefix, all of them an encoder's."""
    bare = {key.removeprefix(weights.PREFIX): array for key, array in arrays.items()}
    twice = [key for key in bare if key in arrays and weights.PREFIX + key in arrays]
    if twice:
        raise UserError(
            f"{path} holds weights twice, with and without {weights.PREFIX!r}: {listed(twice)}. "
            "Save only those that are meant.",
            problem="duplicate_weights",
        )
    prefixed = any(key.startswith(weights.PREFIX) for key in arrays)
    foreign = [
        key
        for key in arrays
        if key.startswith(weights.PREFIX) != prefixed
        or not key.removeprefix(weights.PREFIX).startswith(_ROOTS)
    ]
    if foreign or not bare:
        raise UserError(
            f"{path} holds weights that are none of an encoder: {listed(foreign) or 'none at all'}."
            " Save the encoder alone, whose names start with first_conv. and stage_list., with or "
            f"without {weights.PREFIX}.",
            problem="foreign_weights",
        )
    return bare


def infer_size(arrays: Mapping[str, Any]) -> tuple[str, int]:
    """The size of an encoder with such weights, and its number of input channels.

    ECGFounder's classifier and batch norms are not looked at.

    Raises:
        UserError: they fit no size; names the nearest and what differs.
    """
    arrays = weights.without_prefix(arrays)
    found = {
        key: np.shape(array)
        for key, array in arrays.items()
        if not weights.is_norm(key) and not key.startswith(_HEAD)
    }
    channels, affines = weights.in_channels(arrays), weights.has_affines(arrays)
    wrong = {
        name: _differences(found, weights.shapes(size, channels, affines))
        for name, size in SIZES.items()
    }
    nearest = min(wrong, key=lambda name: len(wrong[name]))
    if wrong[nearest]:
        raise UserError(
            f"These weights fit no encoder; sizes are {', '.join(SIZES)}. The nearest is "
            f"{nearest!r}, but {listed(wrong[nearest], 3)}.",
            problem="unknown_shape",
        )
    return nearest, channels


def _differences(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    unknown = [f"{key} is unknown" for key in found if key not in expected]
    missing = [f"{key} is missing" for key in expected if key not in found]
    misshapen = [
        f"{key} is {list(found[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    return unknown + misshapen + missing


def write_state_dict(path: str | pathlib.Path, encoder: Net1D) -> None:
    """Writes weights that the reference's network loads strictly, with neutral batch norms.

    Raises:
        UserError: PyTorch is not installed, or the encoder has input affines (see `to_torch`).
    """
    _save(pathlib.Path(path), _tensors(encoder))


def write_lightning(
    path: str | pathlib.Path, encoder: Net1D, *, epoch: int = 0, num_steps: int = 0
) -> None:
    """Writes weights as a checkpoint of the reference's training module, without optimiser.

    Raises:
        UserError: as `write_state_dict`.
    """
    checkpoint = {
        "epoch": epoch,
        "global_step": num_steps,
        # Whose layout this is: later versions of Lightning bring older files up to date.
        torch_archive.LIGHTNING_VERSION: "2.0.0",
        "state_dict": {weights.PREFIX + key: value for key, value in _tensors(encoder).items()},
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    _save(pathlib.Path(path), checkpoint)


def _tensors(encoder: Net1D) -> dict[str, Any]:
    torch = torch_archive.import_torch()
    # Copied, because PyTorch warns of memory that it may not write to, and jax's it may not.
    return {key: torch.tensor(array) for key, array in weights.to_torch(encoder).items()}


def _save(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    with files.appearing(path) as half, half.open("wb") as file:
        torch_archive.import_torch().save(content, file)
