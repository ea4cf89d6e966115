"""Reads PyTorch's pickled files without running anything that they hold.

A pickle is a program. It is read with `weights_only=True` alone, and only by PyTorch 2.10 or later:
earlier ones could be made to run code all the same (CVE-2025-32434, CVE-2026-24747). Before that,
the archive around it must hold no more than it claims, and name no class that PyTorch refuses.
There is no other way in, and none that can be asked for.
"""

import dataclasses
import pathlib
import pickle
import re
import struct
import types
import warnings
import zipfile
from typing import Any

import numpy as np

from clef_jax.convert import weights
from clef_jax.convert.file_kind import checked, listed
from clef_jax.errors import UserError

LIGHTNING_VERSION = "pytorch-lightning_version"
"""The entry by which a Lightning checkpoint is known."""
MIN_TORCH = (2, 10)
MAX_FILE_BYTES = 32 << 30
MAX_PICKLE_BYTES = 64 << 20
"""Of the pickle alone: names and shapes, for tensors lie beside it."""
MAX_ENTRIES = 200_000

# What zipfile and PyTorch throw at malformed archives.
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, OSError, EOFError, struct.error, RuntimeError)
_PICKLE_ERRORS = (
    *_ZIP_ERRORS,
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
)


def import_torch(*, to_read: bool = False) -> types.ModuleType:
    """PyTorch, which is installed only where it is wanted.

    Raises:
        UserError: it is not installed, or too old `to_read` pickled files.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            "PyTorch's own files need PyTorch: pip install 'clef_jax[torch]'. Safetensors files "
            "need no PyTorch; ask the owner of the weights for one.",
            problem="missing_package",
        ) from None
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if to_read and (found is None or tuple(map(int, found.groups())) < MIN_TORCH):
        raise UserError(
            f"PyTorch {torch.__version__} can be made to run code by a file of weights: install "
            "2.10 or later with pip install 'clef_jax[torch]', or ask the owner of the weights "
            "for a safetensors file.",
            problem="old_package",
        )
    return torch


@dataclasses.dataclass(frozen=True, eq=False)
class Archive:
    """What a PyTorch file holds of weights."""

    arrays: dict[str, np.ndarray]
    others: tuple[str, ...]
    """What else it holds: names of the checkpoint's entries beside the weights."""
    from_lightning: bool


def read(path: pathlib.Path) -> Archive:
    """The weights of a zipped PyTorch file: a checkpoint's `state_dict`, or the whole.

    Raises:
        UserError: the file is damaged, claims more than it holds, or holds other objects than
            tensors and plain values; or PyTorch is not installed, or too old.
    """
    found = _load(path)
    tensors, others = _state_dict(path, found)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    if total > path.stat().st_size:
        raise UserError(
            f"{path} claims weights of {total} bytes, more than it holds.",
            problem="larger_than_file",
        )
    arrays = {key: _array(path, key, tensor) for key, tensor in tensors.items()}
    return Archive(arrays, others, LIGHTNING_VERSION in found)


def _load(path: pathlib.Path) -> Any:
    """The unpickled object; its tensors are still in the file."""
    torch = import_torch(to_read=True)
    _check_archive(path)
    try:
        refused = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except _PICKLE_ERRORS as error:
        raise _damaged(path, error) from error
    if refused:
        raise UserError(_refusal(path, sorted(map(str, refused))), problem="pickled_objects")
    try:
        with warnings.catch_warnings():
            # PyTorch warns of its own doings when it describes what a damaged file made of it.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, []), problem="pickled_objects") from error
    except _PICKLE_ERRORS as error:
        raise _damaged(path, error) from error


def _state_dict(path: pathlib.Path, found: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Tensors by name, and the names of what else a checkpoint holds."""
    torch = import_torch()
    if not isinstance(found, dict):
        raise UserError(
            f"{path} holds a {type(found).__name__}, not weights by their names.",
            problem="no_weights",
        )
    state = found.get("state_dict", found)
    if not isinstance(state, dict) or not state:
        raise UserError(
            f"{path} holds no weights: its state_dict is empty or none.", problem="no_weights"
        )
    strange = [
        str(key)
        for key, value in state.items()
        if not (isinstance(key, str) and isinstance(value, torch.Tensor))
    ]
    if strange:
        raise UserError(
            f"{path} holds other things than tensors where weights are expected: "
            f"{listed(strange)}. A checkpoint keeps its weights under the name state_dict.",
            problem="other_objects",
        )
    return state, () if state is found else tuple(str(key) for key in found if key != "state_dict")


def _array(path: pathlib.Path, key: str, tensor: Any) -> np.ndarray:
    """A tensor's numbers, copied out of the file."""
    torch = import_torch()
    real = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    counts = key.endswith(weights.COUNT) and tensor.dtype == torch.int64
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or not (tensor.dtype in real or counts):
        raise UserError(
            f"{path}: {listed([key])} is a {tensor.dtype} tensor ({tensor.layout}, on "
            f"{tensor.device}), not one of real numbers.",
            problem="not_real",
        )
    # A view can repeat a number by steps of zero: small in the file, huge in memory.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(
            f"{path}: {listed([key])} is larger than what the file holds of it.",
            problem="larger_than_file",
        )
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    whole = tensor.detach().clone(memory_format=torch.contiguous_format)
    return checked(path, key, whole.numpy())


def _check_archive(path: pathlib.Path) -> None:
    """PyTorch stores its entries uncompressed, so what they claim cannot exceed the file."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UserError(
            f"{path} has {size >> 30} GiB, more than any checkpoint of these encoders.",
            problem="too_large",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (*_ZIP_ERRORS, NotImplementedError) as error:
        raise _damaged(path, error) from error
    names = [entry.filename for entry in entries]
    pickles = [entry for entry in entries if entry.filename.split("/")[1:] == ["data.pkl"]]
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        problem, words = (
            "compressed",
            "has compressed entries, which PyTorch never writes and which may fill the memory",
        )
    elif sum(entry.file_size for entry in entries) > size:
        problem, words = "overlapping_entries", "claims to hold more bytes than it has"
    elif len(names) > MAX_ENTRIES or len(set(names)) < len(names):
        problem, words = "duplicate_entries", "has too many entries, or several of one name"
    elif len(pickles) != 1:
        problem, words = "no_data_pkl", "is a zip archive, but not of PyTorch's: it has no data.pkl"
    elif pickles[0].file_size > MAX_PICKLE_BYTES:
        problem, words = (
            "pickle_too_large",
            f"has a data.pkl of {pickles[0].file_size >> 20} MiB, which is no list of weights",
        )
    else:
        return
    raise UserError(f"{path} {words}. It was not opened.", problem=problem)


def _damaged(path: pathlib.Path, error: BaseException) -> UserError:
    first = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
    return UserError(
        f"{path} is damaged or was not copied whole: it cannot be read as a PyTorch file "
        f"({type(error).__name__}: {first}). Copy or download it again and compare its size.",
        problem="damaged",
    )


def _refusal(path: pathlib.Path, classes: list[str]) -> str:
    what = f"objects of {listed(classes)}" if classes else "more than tensors and values"
    return (
        f"{path} pickles {what}, and reading them could run code, so nothing of it was read. Ask "
        "whoever made the file to save its weights alone, there where it is trusted:\n"
        "    import torch\n"
        f'    weights = torch.load("{path.name}", weights_only=False)["state_dict"]\n'
        '    torch.save({"state_dict": weights}, "weights.ckpt")'
    )
