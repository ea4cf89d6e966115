"""Weights in and out: PyTorch's names, files and modules, ONNX and StableHLO.

`from_torch` and `to_torch` map arrays under the public reference's names; everything that reads or
writes a file is a module of its own and is imported where it is needed.
"""

from clef_jax.convert.weights import PREFIX, from_torch, key_shapes, to_torch

__all__ = ["PREFIX", "from_torch", "key_shapes", "to_torch"]
