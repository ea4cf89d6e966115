"""What a file of weights is, by its first bytes, and what any array in one must be."""

import pathlib
from collections.abc import Iterable
from typing import Literal

import numpy as np

from clef_jax.errors import UserError

KNOWN = "Files of weights are PyTorch's .ckpt, .pt and .pth, and .safetensors"


def detect(path: pathlib.Path) -> Literal["archive", "safetensors"]:
    """Whether a file is a zipped PyTorch file or safetensors.

    Raises:
        UserError: it is neither, or cannot be read; says what it seems to be.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", problem="missing_file") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.", problem="unreadable"
        ) from error
    if head.startswith(b"PK\x03\x04"):
        return "archive"
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    problem, sentence = _seems(head)
    raise UserError(f"{path} {sentence}", problem=problem)


def _seems(head: bytes) -> tuple[str, str]:
    """Returns the problem's code and the rest of a sentence that begins with the file's path."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty", "is empty. Copy or download it again."
    if text.startswith(b"version https://git-lfs"):
        return (
            "git_lfs_pointer",
            "is a Git LFS pointer: it only names the weights. Fetch them with git lfs pull, or "
            "download the file itself.",
        )
    if text.startswith(b"<"):
        return (
            "web_page",
            "is a web page, not weights: the download ended on an error or a login page. Open the "
            "link in a browser and download the file itself.",
        )
    if head.startswith(b"\x80"):
        return (
            "bare_pickle",
            "is a bare pickle, as PyTorch before 1.6 wrote. What it claims cannot be checked, so "
            "it was not opened. Ask its owner to load it where it is trusted and to save it with a "
            "current PyTorch, or as safetensors.",
        )
    return "unknown_kind", f"is no file of weights that is known. {KNOWN}."


def checked(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    """`array`, half precision as float32.

    Raises:
        UserError: it holds NaN or infinity.
    """
    if array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(
            f"{path}: {listed([key])} holds NaN or infinity. The training that wrote it failed, or "
            "the file is damaged.",
            problem="not_finite",
        )
    return array


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names out of a file in a sentence, the first few, without control characters."""
    every = list(names)
    told = [name.encode("unicode_escape").decode()[:120] for name in every[:most]]
    rest = len(every) - most
    return ", ".join(told) + (f" and {rest} more" if rest > 0 else "")
