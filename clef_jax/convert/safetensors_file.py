"""Safetensors files: names, shapes and numbers, and nothing that could run.

Format: an 8-byte length, a JSON header of that length, the arrays end to end. The library checks
that types, shapes and places agree and cover the file.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401 (once it is imported, NumPy knows bfloat16)
import numpy as np

from clef_jax import files
from clef_jax.convert import weights
from clef_jax.convert.file_kind import checked, detect, listed
from clef_jax.errors import UserError

MAX_HEADER_BYTES = 16 << 20
"""Names and shapes; those of the large encoder take 0.2 MiB."""
_REAL = ("F16", "BF16", "F32", "F64")


def write_safetensors(
    path: str | pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes arrays by name, each in its own type, with a few words about them."""
    import safetensors.numpy

    # The library writes the memory as it lies, so that a transposed array would come back wrong.
    ordered = {key: np.ascontiguousarray(a).reshape(np.shape(a)) for key, a in arrays.items()}
    with files.appearing(pathlib.Path(path)) as half:
        safetensors.numpy.save_file(ordered, half, metadata=dict(metadata))
        files.share(half)


def read_safetensors(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a file; half precision becomes float32.

    Raises:
        UserError: the file is missing or malformed, names an array twice, or holds other than
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
                        f"{path}: {listed([key])} has the type {kind}, no real number.",
                        problem="not_real",
                    )
                arrays[key] = checked(path, key, file.get_tensor(key))
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged or was not copied whole ({error}). Copy or download it again.",
            problem="damaged",
        ) from error
    return arrays


def _check_header(path: pathlib.Path) -> None:
    """The header is of a sane length and names nothing twice, which the library lets pass."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, path.stat().st_size - 8):
            raise UserError(
                f"{path} claims a header of {length} bytes, more than it has or than any encoder "
                "needs. It was not opened.",
                problem="header_too_large",
            )
        header = file.read(length)
    try:
        json.loads(header, object_pairs_hook=_unique)
    except UserError as error:
        raise UserError(f"{path} {error}", problem=error.problem) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} has a header that is no JSON. Download it again.", problem="unreadable_header"
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(
            f"names {listed({n for n in names if names.count(n) > 1})} twice.",
            problem="duplicate_name",
        )
    return found
