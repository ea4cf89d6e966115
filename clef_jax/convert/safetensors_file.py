"""Reads and writes safetensors files, which hold arrays by name and no code.

Format: an 8-byte length, a JSON header of that length, the arrays end to end. The library checks
that types, shapes and offsets agree and cover the file.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401 (once it is imported, NumPy knows bfloat16)
import numpy as np

from clef_jax import files
from clef_jax.convert import weights
from clef_jax.convert.file_kind import check_array, detect, join_names
from clef_jax.errors import UserError, counted

MAX_HEADER_BYTES = 16 << 20
"""Largest accepted header; that of the large encoder has 0.2 MiB."""
_REAL = ("F16", "BF16", "F32", "F64")


def write_safetensors(
    path: str | pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes arrays by name, each in its own type, with metadata."""
    import safetensors.numpy

    # The library writes memory in its stored order, which is wrong for a transposed array.
    ordered = {key: np.ascontiguousarray(a).reshape(np.shape(a)) for key, a in arrays.items()}
    with files.atomic_file(pathlib.Path(path)) as half:
        try:
            safetensors.numpy.save_file(ordered, half, metadata=dict(metadata))
        except safetensors.SafetensorError as error:  # as which the library reports a full disk
            raise OSError(str(error)) from error
        files.apply_umask(half)


def read_metadata(path: pathlib.Path) -> dict[str, str]:
    """Returns the metadata of a file; none if it is not a safetensors file."""
    import safetensors

    try:
        _check_header(path)
        with safetensors.safe_open(path, "numpy") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError, UserError):
        return {}


def read_safetensors(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name; half precision becomes float32.

    Raises:
        UserError: the file is missing or malformed, has duplicate names, or holds anything but
            finite real numbers (and the batch counts of batch norms).
    """
    import safetensors

    path = pathlib.Path(path)
    if detect(path) != "safetensors":
        raise UserError(f"{path} is a PyTorch file, not safetensors.", problem="pytorch_file")
    _check_header(path)
    arrays = {}
    try:
        with safetensors.safe_open(path, "numpy") as file:
            for key in sorted(file.keys()):
                kind = file.get_slice(key).get_dtype()
                if kind not in _REAL and not (kind == "I64" and key.endswith(weights.COUNT)):
                    raise UserError(
                        f"{path}: {join_names([key])} has the type {kind}, not a real type.",
                        problem="not_real",
                    )
                arrays[key] = check_array(path, key, file.get_tensor(key))
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged or incomplete ({error}). Copy or download it again.",
            problem="damaged",
        ) from error
    return arrays


def _check_header(path: pathlib.Path) -> None:
    """Checks the length of the header and that names are unique, which the library does not."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, path.stat().st_size - 8):
            raise UserError(
                f"{path} claims a header of {counted(length, 'byte')}, more than the file has or "
                "any encoder needs. It was not opened.",
                problem="header_too_large",
            )
        header = file.read(length)
    try:
        json.loads(header, object_pairs_hook=_unique)
    except UserError as error:
        raise UserError(f"{path} {error}", problem=error.problem) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} has a header that is not JSON. Download it again.", problem="unreadable_header"
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(
            f"has duplicates of {join_names({n for n in names if names.count(n) > 1})}.",
            problem="duplicate_name",
        )
    return unique
