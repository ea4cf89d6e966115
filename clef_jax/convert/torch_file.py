"""Reads and writes weights: Lightning `.ckpt`, PyTorch `.pt` and `.pth`, and `.safetensors`.

The kind of a file is detected from its first bytes, not from its name. No code in a file is ever
run, and claimed sizes are checked before memory is allocated (`torch_archive`, `safetensors_file`).
An interrupted write leaves no partial file.
"""

import collections
import dataclasses
import os
import pathlib
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from clef_jax import files
from clef_jax.convert import torch_archive, weights
from clef_jax.convert.file_kind import detect, join_names
from clef_jax.convert.safetensors_file import read_safetensors, write_safetensors
from clef_jax.errors import UserError
from clef_jax.models import SIZES, Net1D

__all__ = [
    "StateDict",
    "infer_size",
    "read",
    "read_safetensors",
    "was_written_here",
    "write_arrays",
    "write_lightning",
    "write_safetensors",
    "write_state_dict",
]

Kind = Literal["lightning", "state_dict", "safetensors"]
_COMMENT = b"clef_jax"
"""Comment of the archives of PyTorch files, which PyTorch ignores."""
_HEAD = "dense."
_ROOTS = ("first_conv.", "first_bn.", "stage_list.", _HEAD)
"""Starts of the names of an encoder's weights and of ECGFounder's classifier."""
_WRAPPERS = ("backbone", "module", "model", "encoder", "net", "network")
"""Names under which training programs keep the encoder, before the names of its weights."""
_INNER = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that PyTorch adds anywhere in a name when it compiles or wraps a module."""
_OUTER = re.compile(rf"(?:(?:{'|'.join(_WRAPPERS)})\.)+")


@dataclasses.dataclass(frozen=True, eq=False)
class StateDict:
    """Weights of a file."""

    arrays: dict[str, np.ndarray]
    """Arrays by the reference's names, without `backbone.`; half precision becomes float32."""
    kind: Kind
    """Kind of the file."""
    num_unused_norms: int
    """Number of batch-norm tensors among the arrays, which the reference does not use."""
    notes: tuple[str, ...]
    """Sentences for the user about what was read and what was skipped."""


def read(path: str | pathlib.Path) -> StateDict:
    """Reads the weights of an encoder from a file of any known kind.

    Raises:
        UserError: the file is missing, damaged, of an unknown kind or cannot be read safely, or
            holds weights of something other than an encoder; the message says what to do.
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
            notes.append(f"Skipped entries beside the weights: {join_names(archive.others)}.")
    arrays, prefix = _without_prefix(path, arrays)
    if prefix not in ("", weights.PREFIX):
        notes.append(f"Removed {prefix!r} from the start of the weights' names.")
    norms = [key for key in arrays if weights.is_norm(key)]
    if norms:
        notes.append(f"Accepted {len(norms)} batch-norm tensors that the encoder does not use.")
    if any(arrays[key].any() for key in norms if key.endswith(weights.COUNT)):
        notes.append(
            "The batch norms have counted batches, so they were used in training. Check that the "
            "network of these weights works without them."
        )
    if any(key.startswith(_HEAD) for key in arrays):
        notes.append("The file holds a classifier (dense), as ECGFounder's files do.")
    return StateDict(arrays, kind, len(norms), tuple(notes))


def read_tree(path: str | pathlib.Path) -> dict[str, Any]:
    """Returns everything that a file holds, arrays by name in mappings within mappings.

    Nothing is converted, and arrays may share the memory of the file.

    Raises:
        UserError: the file is missing, damaged, of an unknown kind or cannot be read safely.
    """
    path = pathlib.Path(path)
    is_safe = detect(path) == "safetensors"
    return dict(read_safetensors(path)) if is_safe else torch_archive.read_tree(path)


def _without_prefix(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], str]:
    """Returns the arrays by their names without prefix, and the prefix that all of them had.

    Raises:
        UserError: a name is duplicate, or is not that of an encoder's weight.
    """
    names = {key: _split(key) for key in arrays}
    bare = {name: arrays[key] for key, (_, name) in names.items()}
    if len(bare) < len(arrays):
        seen = collections.Counter(name for _, name in names.values())
        raise UserError(
            f"{path} holds duplicate weights, with and without a prefix such as "
            f"{weights.PREFIX!r}: {join_names([name for name in seen if seen[name] > 1])}. Save "
            "only one of them.",
            problem="duplicate_weights",
        )
    prefixes = collections.Counter(prefix for prefix, _ in names.values())
    usual = prefixes.most_common(1)[0][0] if prefixes else ""
    foreign = [
        key
        for key, (prefix, name) in names.items()
        if prefix != usual or not name.startswith(_ROOTS)
    ]
    if foreign or not bare:
        raise UserError(
            f"{path} holds weights that are not an encoder's: {join_names(foreign) or 'no names'}. "
            "Save only the encoder, whose names start with first_conv. and stage_list., all of "
            f"them after the same prefix, such as {weights.PREFIX}, or after none.",
            problem="foreign_weights",
        )
    return bare, usual


def _split(key: str) -> tuple[str, str]:
    """Returns the prefix of a weight's name, and its name in the reference's network."""
    name = _INNER.sub("", key)
    prefix = _OUTER.match(name)
    return (prefix[0], name[prefix.end() :]) if prefix else ("", name)


def infer_size(arrays: Mapping[str, Any]) -> tuple[str, int]:
    """Infers the size of the encoder with the given weights, and its number of input channels.

    ECGFounder's classifier and batch norms are ignored.

    Raises:
        UserError: the weights fit no size; the message names the nearest one and what differs.
    """
    arrays = weights.without_prefix(arrays)
    actual = {
        key: np.shape(array)
        for key, array in arrays.items()
        if not weights.is_norm(key) and not key.startswith(_HEAD)
    }
    channels, affines = weights.in_channels(arrays), weights.has_affines(arrays)
    wrong = {
        name: _differences(actual, weights.shapes(size, channels, affines))
        for name, size in SIZES.items()
    }
    nearest = min(wrong, key=lambda name: len(wrong[name]))
    if wrong[nearest]:
        raise UserError(
            f"The weights fit no encoder size; available: {', '.join(SIZES)}. The nearest is "
            f"{nearest!r}, but {join_names(wrong[nearest], 3)}.",
            problem="unknown_shape",
        )
    return nearest, channels


def _differences(
    actual: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    unknown = [f"{key} is unknown" for key in actual if key not in expected]
    missing = [f"{key} is missing" for key in expected if key not in actual]
    misshapen = [
        f"{key} is {list(actual[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in actual and actual[key] != shape
    ]
    return unknown + misshapen + missing


def write_state_dict(path: str | pathlib.Path, encoder: Net1D) -> None:
    """Writes a state dict that the reference's network loads strictly, with neutral batch norms.

    Raises:
        UserError: PyTorch is not installed, or the encoder has input affines (see `to_torch`).
    """
    _save(pathlib.Path(path), _tensors(encoder))


def write_arrays(path: str | pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name as a state dict.

    Raises:
        UserError: PyTorch is not installed.
    """
    torch = torch_archive.import_torch()
    _save(pathlib.Path(path), {key: torch.tensor(array) for key, array in arrays.items()})


def write_lightning(
    path: str | pathlib.Path, encoder: Net1D, *, epoch: int = 0, num_steps: int = 0
) -> None:
    """Writes weights as a checkpoint of the reference's training module, without optimiser state.

    Raises:
        UserError: as `write_state_dict`.
    """
    checkpoint = {
        "epoch": epoch,
        "global_step": num_steps,
        # Version of this layout; later versions of Lightning convert older files.
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
    # Copy, because PyTorch warns about read-only memory, which jax's arrays have.
    return {key: torch.tensor(array) for key, array in weights.to_torch(encoder).items()}


def _save(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    torch = torch_archive.import_torch()
    with files.atomic_file(path) as half, half.open("w+b") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # as which PyTorch reports that the disk is full
            raise OSError(f"PyTorch could not write it ({error})") from error
        # The archive's comment, which says who wrote it, follows its length at the end of the file.
        file.seek(-2, os.SEEK_END)
        if file.read(2) == b"\0\0":
            file.seek(-2, os.SEEK_END)
            file.write(struct.pack("<H", len(_COMMENT)) + _COMMENT)


def was_written_here(path: pathlib.Path) -> bool:
    """Returns whether this module wrote a PyTorch file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == _COMMENT
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
