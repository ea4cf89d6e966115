"""Imports weights from PyTorch, and exports models to PyTorch, ONNX and StableHLO.

`from_torch` and `to_torch` map arrays from and to the public reference's names. The modules that
read or write files are imported where they are needed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clef_jax.convert.weights import PREFIX, from_torch, key_shapes, to_torch

__all__ = ["PLATFORMS", "PREFIX", "from_torch", "key_shapes", "to_torch"]

PLATFORMS = ("cpu", "cuda", "tpu")
"""Platforms that a StableHLO file can run on."""


def __getattr__(name: str) -> Any:
    """Imports the mapping of weights at its first use, because the command line needs no jax."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clef_jax.convert import weights

    return getattr(weights, name)
