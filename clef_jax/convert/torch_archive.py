"""Reads PyTorch's pickled files without running code that they hold.

A pickle is a program. It is only read with `weights_only=True` and by PyTorch 2.10 or later,
because earlier versions could still be made to run code (CVE-2025-32434, CVE-2026-24747). Before
that, the sizes in the archive around it are checked, and it must not name a class that PyTorch
rejects. No setting switches these checks off.
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

import ml_dtypes
import numpy as np

from clef_jax.convert import weights
from clef_jax.convert.file_kind import check_array, join_names
from clef_jax.errors import UserError, counted

WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "module", "weights"),
    *("encoder", "backbone", "net", "network"),
)
"""Entries of a checkpoint under which training programs keep the weights."""

_MOST_WRAPPERS = 4
"""Most mappings of which each holds only the next one."""
_MOST_LEVELS = 16
"""Most mappings within mappings of a file; one that holds itself has no end."""

LIGHTNING_VERSION = "pytorch-lightning_version"
"""Entry that identifies a Lightning checkpoint."""
MIN_TORCH = (2, 10)
MAX_FILE_BYTES = 32 << 30
MAX_PICKLE_BYTES = 64 << 20
"""Largest accepted pickle, which holds names and shapes; tensors are separate entries."""
MAX_ENTRIES = 200_000

# Errors that zipfile and PyTorch raise for malformed archives.
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
    """Imports PyTorch, which is an optional dependency.

    Args:
        to_read: whether pickled files are to be read, which needs a recent version.

    Raises:
        UserError: PyTorch is not installed, or too old to read pickled files safely.
    """
    try:
        import torch
    except ImportError:
        other = "ask the owner of the weights for one" if to_read else "write .safetensors instead"
        raise UserError(
            "PyTorch files need PyTorch: pip install 'clef_jax[torch]'. Safetensors files do not; "
            f"{other}.",
            problem="missing_package",
        ) from None
    version = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if to_read and (version is None or tuple(map(int, version.groups())) < MIN_TORCH):
        raise UserError(
            f"PyTorch {torch.__version__} can be made to run code by a file of weights: install "
            "2.10 or later with pip install 'clef_jax[torch]', or ask the owner of the weights "
            "for a safetensors file.",
            problem="old_package",
        )
    return torch


@dataclasses.dataclass(frozen=True, eq=False)
class Archive:
    """Weights of a PyTorch file."""

    arrays: dict[str, np.ndarray]
    """Weights by name."""
    others: tuple[str, ...]
    """Names of the checkpoint's entries beside the weights."""
    from_lightning: bool
    """Whether Lightning wrote the file."""


def read(path: pathlib.Path) -> Archive:
    """Reads the weights of a zipped PyTorch file: those under one of `WRAPPERS`, or all of it.

    Raises:
        UserError: the file is damaged, claims more bytes than it holds, or holds objects other
            than tensors and plain values; or PyTorch is not installed or too old.
    """
    content = _load(path)
    tensors, others = _state_dict(path, content)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    if total > path.stat().st_size:
        raise UserError(
            f"{path} claims weights of {counted(total, 'byte')}, more than it holds.",
            problem="larger_than_file",
        )
    arrays = {key: _array(path, key, tensor) for key, tensor in tensors.items()}
    return Archive(arrays, others, LIGHTNING_VERSION in content)


def read_tree(path: pathlib.Path) -> dict[str, Any]:
    """Returns everything that a zipped PyTorch file holds, in mappings within mappings.

    Tensors become arrays that share the memory of the file: nothing is copied or converted, and a
    tensor that the file names twice is one array. Values of other types stay as they are.

    Raises:
        UserError: as `read`; or the file has too many levels.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise _not_named(path, content)
    storages: dict[int, int] = {}
    tree = _tree(path, content, storages, "", _MOST_LEVELS)
    if sum(storages.values()) > path.stat().st_size:
        raise UserError(
            f"{path} claims weights of {counted(sum(storages.values()), 'byte')}, more than it "
            "holds.",
            problem="larger_than_file",
        )
    return tree


def _tree(
    path: pathlib.Path, content: dict[Any, Any], storages: dict[int, int], prefix: str, levels: int
) -> dict[str, Any]:
    """Returns a mapping with arrays instead of tensors.

    Args:
        storages: receives the number of bytes of each storage of tensors, by its address.
        prefix: names of the outer mappings, for messages.
        levels: number of levels of mappings that may follow.
    """
    torch = import_torch()
    if not levels:
        raise UserError(
            f"{path} has more than {_MOST_LEVELS} levels of mappings, more than any checkpoint.",
            problem="too_many_levels",
        )
    tree = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            value = _tree(path, value, storages, f"{name}.", levels - 1)
        elif isinstance(value, torch.Tensor):
            value = _shared_array(path, name, value, storages)
        tree[str(key)] = value
    return tree


def _shared_array(path: pathlib.Path, key: str, tensor: Any, storages: dict[int, int]) -> Any:
    """Returns a tensor as an array of the same memory; words if NumPy has no such array."""
    torch = import_torch()
    names = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool", "uint8")
    numeric = tensor.dtype in [getattr(torch, name) for name in names]
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not numeric:
        return f"{tensor.dtype} tensor ({tensor.layout}, on {tensor.device})"
    _check_extent(path, key, tensor)
    storage = tensor.untyped_storage()
    storages[storage.data_ptr()] = storage.nbytes()
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _load(path: pathlib.Path) -> Any:
    """Returns the unpickled object, whose tensors are still memory-mapped."""
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
            # Damaged files make PyTorch print warnings about its own internals.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, []), problem="pickled_objects") from error
    except _PICKLE_ERRORS as error:
        raise _damaged(path, error) from error


def _state_dict(path: pathlib.Path, content: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the tensors by name, and the names of a checkpoint's other entries."""
    torch = import_torch()
    if not isinstance(content, dict):
        raise _not_named(path, content)
    state, others = _unwrap(path, content)
    if not state:
        raise UserError(
            f"{path} holds no weights: its state_dict is empty or not a mapping of names.",
            problem="no_weights",
        )
    strange = [
        str(key)
        for key, value in state.items()
        if not (isinstance(key, str) and isinstance(value, torch.Tensor))
    ]
    if strange:
        raise UserError(
            f"{path} holds objects other than tensors among its weights: {join_names(strange)}. "
            "Save the weights under the name state_dict.",
            problem="other_objects",
        )
    return state, others


def _unwrap(path: pathlib.Path, content: dict[Any, Any]) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """Returns the innermost mapping of weights, and the names of what lies beside it.

    Raises:
        UserError: several entries may be the weights.
    """
    others: list[str] = []
    for _ in range(_MOST_WRAPPERS):
        mappings = [key for key in WRAPPERS if isinstance(content.get(key), dict)]
        if len(mappings) > 1:
            raise UserError(
                f"{path} holds weights under several names: {join_names(mappings)}. Save only the "
                "encoder's, under the name state_dict.",
                problem="several_weights",
            )
        if not mappings:
            break
        others += [str(key) for key in content if key != mappings[0]]
        content = content[mappings[0]]
    return ({} if "state_dict" in content else content), tuple(others)


def _array(path: pathlib.Path, key: str, tensor: Any) -> np.ndarray:
    """Returns a copy of a tensor as a NumPy array."""
    torch = import_torch()
    real = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    counts = key.endswith(weights.COUNT) and tensor.dtype == torch.int64
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or not (tensor.dtype in real or counts):
        raise UserError(
            f"{path}: {join_names([key])} is a {tensor.dtype} tensor ({tensor.layout}, on "
            f"{tensor.device}), but only real CPU tensors are read.",
            problem="not_real",
        )
    _check_extent(path, key, tensor)
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    return check_array(path, key, copy.numpy())


def _not_named(path: pathlib.Path, content: Any) -> UserError:
    return UserError(
        f"{path} holds a {type(content).__name__} instead of weights by name.",
        problem="no_weights",
    )


def _check_extent(path: pathlib.Path, key: str, tensor: Any) -> None:
    """Raises UserError if a tensor has more numbers than its data in the file.

    A view with stride zero repeats a number: small in the file, huge in memory.
    """
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(
            f"{path}: {join_names([key])} is larger than its data in the file.",
            problem="larger_than_file",
        )


def _check_archive(path: pathlib.Path) -> None:
    """Raises UserError if the archive is not PyTorch's, or its entries claim too many bytes.

    PyTorch stores entries uncompressed, so their sizes cannot exceed that of the file.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UserError(
            f"{path} has {size >> 30} GiB, more than any checkpoint of a supported encoder.",
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
            "has compressed entries, which PyTorch never writes and which could exhaust the memory",
        )
    elif sum(entry.file_size for entry in entries) > size:
        problem, words = "overlapping_entries", "claims more bytes than it has"
    elif len(names) > MAX_ENTRIES or len(set(names)) < len(names):
        problem, words = "duplicate_entries", "has too many entries, or duplicate names"
    elif len(pickles) != 1:
        problem, words = "no_data_pkl", "is a zip archive, but not PyTorch's: it has no data.pkl"
    elif pickles[0].file_size > MAX_PICKLE_BYTES:
        problem, words = (
            "pickle_too_large",
            f"has a data.pkl of {pickles[0].file_size >> 20} MiB, too large for names and shapes",
        )
    else:
        return
    raise UserError(f"{path} {words}. It was not opened.", problem=problem)


def _damaged(path: pathlib.Path, error: BaseException) -> UserError:
    first = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
    return UserError(
        f"{path} is damaged or incomplete: it cannot be read as a PyTorch file "
        f"({type(error).__name__}: {first}). Copy or download it again and compare its size.",
        problem="damaged",
    )


def _refusal(path: pathlib.Path, classes: list[str]) -> str:
    what = f"objects of {join_names(classes)}" if classes else "more than tensors and values"
    return (
        f"{path} pickles {what}. Reading them could run code, so the file was not read. Ask its "
        "owner to save only the weights, in a trusted place:\n"
        "    import torch\n"
        f'    weights = torch.load("{path.name}", weights_only=False)["state_dict"]\n'
        '    torch.save({"state_dict": weights}, "weights.ckpt")'
    )
