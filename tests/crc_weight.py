"""Weights that need no file: each follows from its key (rule `crc-v1` of the stored goldens)."""

import functools
import pathlib
import zlib

import numpy as np

WEIGHT_SEED, INPUT_SEED, COTANGENT_SEED = 1000, 2000, 3000
_FOLDER = pathlib.Path(__file__).parent / "golden"


@functools.cache
def load_golden(size: str) -> dict[str, np.ndarray]:
    """Keys, shapes, features and gradients of the public PyTorch reference at one size."""
    with np.load(_FOLDER / f"model_{size}.npz") as arrays:
        return dict(arrays)


def make_weights(size: str) -> dict[str, np.ndarray]:
    """The reference's state dict at one size, batch-norm tensors included."""
    golden = load_golden(size)
    shapes = [tuple(map(int, s.split(","))) if s else () for s in golden["shapes"]]
    return {str(k): make_weight(str(k), s) for k, s in zip(golden["keys"], shapes, strict=True)}


def make_weight(key: str, shape: tuple[int, ...], seed: int = WEIGHT_SEED) -> np.ndarray:
    """One tensor of a state dict."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    z = np.random.default_rng(seed + zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        z = 1 + 0.2 * np.abs(z)
    elif len(shape) >= 2:
        z = z / np.sqrt(np.prod(shape[1:]))
    elif key.endswith("weight"):
        z = 1 + 0.1 * z
    else:
        z = 0.1 * z
    return z.astype(np.float32)


def make_signal(length: int) -> np.ndarray:
    """Two signals [2, length, 1]."""
    rng = np.random.default_rng(INPUT_SEED + length)
    return rng.standard_normal((2, 1, length)).astype(np.float32).swapaxes(1, 2)


def make_cotangent(width: int) -> np.ndarray:
    """What the embeddings [2, width] are multiplied by before they are summed to a loss."""
    return np.random.default_rng(COTANGENT_SEED).standard_normal((2, width)).astype(np.float32)
