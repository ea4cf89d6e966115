"""Adds a head to ONNX graphs.

Shapes: B batch, D features, K outputs, M knots of an isotonic calibration.
"""

import numpy as np

from clef_jax.convert.exported_head import ISOTONIC, SIGMOID, SOFTMAX, FoldedHead
from clef_jax.convert.onnx_graph import Builder

SCOPE = "head"
"""Start of the names of these nodes."""


def add_head(builder: Builder, head: FoldedHead, features: str, name: str) -> str:
    """Adds the nodes that answer to `features` [B, D]; returns `name`, the answers [B, K]."""
    builder.enter(SCOPE)
    weight, bias = (builder.constant(_float(array)) for array in (head.weight, head.bias))
    linear = head.link not in (SIGMOID, SOFTMAX, ISOTONIC)
    x = builder.op("Gemm", features, weight, bias, transB=1, name=name if linear else None)
    if head.link == SIGMOID:
        return builder.op("Sigmoid", x, name=name)
    if head.link == SOFTMAX:
        return builder.op("Softmax", x, axis=1, name=name)
    return _interpolated(builder, head, x, name) if head.link == ISOTONIC else x


def _interpolated(builder: Builder, head: FoldedHead, x: str, name: str) -> str:
    """Adds the interpolation between knots as a sum of ramps, which every runtime has."""
    start, reciprocal, rise, first = (builder.constant(_float(array)) for array in head.ramps)
    x = builder.op("Unsqueeze", x, builder.integers(2))
    x = builder.op("Mul", builder.op("Sub", x, start), reciprocal)
    x = builder.op("Clip", x, builder.number(0), builder.number(1))
    x = builder.op("ReduceSum", builder.op("Mul", x, rise), builder.integers(2), keepdims=0)
    return builder.op("Add", x, first, name=name)


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
