"""Detects the kind of a file of weights by its first bytes, and checks the arrays in it."""

import pathlib
from collections.abc import Iterable
from typing import Literal

import numpy as np

from clef_jax.errors import UserError, listed

KNOWN = "Files of weights are PyTorch's .ckpt, .pt and .pth, and .safetensors"


def detect(path: pathlib.Path) -> Literal["archive", "safetensors"]:
    """Detects a PyTorch archive or safetensors file.

    Raises:
        UserError: the file is neither, or cannot be read; the message says what it seems to be.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise UserError(f"File not found: {path}.", problem="missing_file") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.", problem="unreadable"
        ) from error
    if head.startswith(b"PK\x03\x04"):
        return "archive"
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    problem, sentence = _describe_unknown(head)
    raise UserError(f"{path} {sentence}", problem=problem)


def _describe_unknown(head: bytes) -> tuple[str, str]:
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
            "is a web page, not weights: the download ended at an error or login page. Open the "
            "link in a browser and download the file itself.",
        )
    if head.startswith(b"\x80"):
        return (
            "bare_pickle",
            "is a bare pickle, as PyTorch before 1.6 wrote. Its content cannot be checked, so it "
            "was not opened. Ask its owner to load it in a trusted place and to save it with a "
            "current PyTorch, or as safetensors.",
        )
    return "unknown_kind", f"is not a known file of weights. {KNOWN}."


def check_array(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of a file; half precision becomes float32.

    Raises:
        UserError: the array holds NaN or infinity.
    """
    if array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(
            f"{path}: {join_names([key])} holds NaN or infinity. The training diverged, or the "
            "file is damaged.",
            problem="not_finite",
        )
    return array


def join_names(names: Iterable[str], most: int = 8) -> str:
    """Returns the first `most` names of a file for a sentence, without control characters."""
    return listed([name.encode("unicode_escape").decode()[:120] for name in names], most)
