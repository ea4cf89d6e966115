"""Builds the ONNX graph of an encoder from its weights.

Shapes: B batch, T time (samples), C channels, D embedding; ONNX keeps time last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.convert.weights import SCALE, SHIFT, block_key
from clef_jax.convolution.toeplitz import same_padding
from clef_jax.errors import UserError
from clef_jax.models.size import BlockSpec, ConvSpec, EncoderSize

OPSET = 17
"""Operator set version. Every onnxruntime since 1.12 (2022) supports it, also on phones; a newer
one is not needed and would exclude older devices."""

IR_VERSION = 8
"""Version of the file format at the release of the operator set."""


ENCODER = "encoder"
"""Start of the names of the encoder's nodes."""


def require(*modules: str) -> None:
    """Raises UserError if a module cannot be imported; the message names the extra to install."""
    for name in modules:
        try:
            __import__(name)
        except ImportError:
            raise UserError(
                f"ONNX files need the package {name}, which is not installed. "
                "Install it with: pip install 'clef_jax[onnx]'."
            ) from None


class Builder:
    """Collects nodes and constants; nodes refer to their inputs by name."""

    def __init__(self):
        require("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._scope = ""
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def enter(self, scope: str) -> None:
        """Starts the names of all further nodes and constants with `scope`."""
        self._scope = scope

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """Adds a constant and returns its name; equal unnamed constants are stored once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, b"" if name else array.tobytes())
        if name is None and key in self._shared:
            return self._shared[key]
        made = f"{self._scope}/{name or f'constant_{len(self.constants)}'}"
        self.constants.append(numpy_helper.from_array(array, made))
        if name is None:
            self._shared[key] = made
        return made

    def integers(self, *values: int) -> str:
        """Adds a constant int64 vector (axes, shapes, indices) and returns its name."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Adds a constant float32 scalar and returns its name."""
        return self.constant(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds a node with one result and returns the result's name, by default a generated one."""
        return self.split(kind, *inputs, names=(name,), **attributes)[0]

    def split(
        self, kind: str, *inputs: str, names: Sequence[str | None], **attributes: Any
    ) -> list[str]:
        """Adds a node with one result per name and returns the names, generated where None."""
        from onnx import helper

        node = f"{self._scope}/{kind}_{len(self.nodes)}"
        results = [given or f"{node}:{number}" for number, given in enumerate(names)]
        self.nodes.append(helper.make_node(kind, inputs, results, name=node, **attributes))
        return results


def add_network(
    builder: Builder,
    weights: Mapping[str, np.ndarray],
    size: EncoderSize,
    signal: str,
    num_samples: int,
    *,
    layers: bool,
) -> list[str]:
    """Adds `Net1D` with the weights of `convert.to_torch`; returns the names of its outputs.

    `signal` is [B, C, T]. The outputs are `embedding` [B, D] and, with `layers`, `stage_1` and so
    on [B, C], the time-means after each stage.
    """
    net = _Network(builder, weights, size)
    return net.add(signal, num_samples, layers)


class _Network:
    """Adds the layers of one encoder."""

    def __init__(self, builder: Builder, weights: Mapping[str, np.ndarray], size: EncoderSize):
        self.builder, self.weights, self.size = builder, weights, size

    def add(self, signal: str, length: int, layers: bool) -> list[str]:
        """Adds the network, and returns the names of its outputs."""
        self.builder.enter(ENCODER)
        stem = self.size.stem()
        x = self.swish(self.conv(signal, "first_conv.conv", length, stem))
        length, outputs = stem.output_length(length), []
        for block in self.size.blocks():
            y = self.branch(x, length, block)
            x = self.builder.op("Add", y, self.shortcut(x, length, block))
            length = block.output_length(length)
            if layers and block.number == self.size.stage_blocks[block.stage] - 1:
                outputs.append(self.mean(x, name=f"stage_{block.stage + 1}"))
        return [self.mean(x, name="embedding"), *outputs]

    def branch(self, x: str, length: int, block: BlockSpec) -> str:
        """Adds the parametrised path of a block, including the gate."""
        key = block_key(block)
        y = self.affine(x, key) if f"{key}.{SCALE}" in self.weights else x
        for i, conv in enumerate(block.convolutions, start=1):
            activated = self.swish(y) if i > 1 or block.activates_input else y
            y = self.conv(activated, f"{key}.conv{i}.conv", length, conv)
            length = conv.output_length(length)
        gate = self.linear(self.mean(y), f"{key}.se_fc1")
        gate = self.builder.op("Sigmoid", self.linear(self.swish(gate), f"{key}.se_fc2"))
        gate = self.builder.op("Unsqueeze", gate, self.builder.integers(2))
        return self.builder.op("Mul", y, gate)

    def affine(self, x: str, key: str) -> str:
        scale, shift = (
            self.builder.constant(self.weights[f"{key}.{part}"].astype(np.float32)[:, None])
            for part in (SCALE, SHIFT)
        )
        return self.builder.op("Add", self.builder.op("Mul", x, scale), shift)

    def conv(self, x: str, key: str, length: int, conv: ConvSpec) -> str:
        return self.builder.op(
            "Conv",
            x,
            self.stored(f"{key}.weight"),
            self.stored(f"{key}.bias"),
            kernel_shape=[conv.taps],
            strides=[conv.stride],
            group=conv.groups,
            # Explicit padding: the attribute SAME_UPPER is deprecated, and tools differ in it.
            pads=list(same_padding(length, conv.taps, conv.stride)),
        )

    def linear(self, x: str, key: str) -> str:
        return self.builder.op(
            "Gemm", x, self.stored(f"{key}.weight"), self.stored(f"{key}.bias"), transB=1
        )

    def stored(self, key: str) -> str:
        return self.builder.constant(self.weights[key].astype(np.float32), key)

    def swish(self, x: str) -> str:
        return self.builder.op("Mul", x, self.builder.op("Sigmoid", x))

    def mean(self, x: str, name: str | None = None) -> str:
        return self.builder.op("ReduceMean", x, axes=[2], keepdims=0, name=name)

    def shortcut(self, x: str, length: int, block: BlockSpec) -> str:
        """Adds the shortcut: max-pooling over two samples, and zero channels on both sides."""
        missing = block.channels - block.in_channels
        if block.stride == 2:
            if length % 2:
                # Padded separately, because MaxPool itself would pad with minus infinity.
                x = self.builder.op("Pad", x, self.builder.integers(0, 0, 0, 0, 0, 1))
            x = self.builder.op("MaxPool", x, kernel_shape=[2], strides=[2])
        if missing:
            left = missing // 2
            x = self.builder.op("Pad", x, self.builder.integers(0, left, 0, 0, missing - left, 0))
        return x
