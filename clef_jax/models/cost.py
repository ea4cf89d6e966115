"""Counts parameters and FLOPs of an encoder from its shape."""

import collections
from collections.abc import Iterator
from typing import NamedTuple

from clef_jax.convolution.rules import ConvShape
from clef_jax.models.size import ConvSpec, EncoderSize

VIEWS = 2
"""Views of each patient in a training step."""

PASSES = 3
"""Cost of a training step in forward passes: one, and two for the backward pass."""


class LinearOp(NamedTuple):
    """A linear map or convolution over time."""

    in_channels: int
    """Input channels of each output channel."""
    out_channels: int
    taps: int
    length: int
    """Number of output samples."""

    @property
    def num_parameters(self) -> int:
        """Number of weights and biases."""
        return self.out_channels * (self.in_channels * self.taps + 1)

    @property
    def flops(self) -> int:
        """FLOPs, two per multiply-add, without biases."""
        return 2 * self.length * self.out_channels * self.in_channels * self.taps


def linear_ops(size: EncoderSize, num_samples: int, in_channels: int = 1) -> Iterator[LinearOp]:
    """Yields every linear map of a `Net1D` for a signal of `num_samples`, in order."""
    stem = size.stem(in_channels)
    length = stem.output_length(num_samples)
    yield _linear_op(stem, length)
    for block in size.blocks():
        for conv in block.convolutions:
            length = conv.output_length(length)
            yield _linear_op(conv, length)
        for linear in block.gate:
            yield _linear_op(linear, 1)


def _linear_op(conv: ConvSpec, length: int) -> LinearOp:
    return LinearOp(conv.group_channels, conv.channels, conv.taps, length)


def num_parameters(size: EncoderSize, in_channels: int = 1) -> int:
    """Returns the number of weights and biases."""
    return sum(op.num_parameters for op in linear_ops(size, 1, in_channels))


def forward_flops(size: EncoderSize, num_samples: int, in_channels: int = 1) -> int:
    """Returns the FLOPs of a forward pass for one signal of `num_samples`."""
    return sum(op.flops for op in linear_ops(size, num_samples, in_channels))


def encoder_flops(size: EncoderSize, num_samples: int, rows: int) -> int:
    """Returns the FLOPs of the encoder in a training step over `rows` patients."""
    return PASSES * VIEWS * rows * forward_flops(size, num_samples)


def loss_flops(rows: int, global_batch_size: int, width: int) -> int:
    """Returns the FLOPs of a device's similarities, of `rows` with all patients, and gradients.

    `width` is the width of the embeddings.
    """
    return PASSES * 2 * (VIEWS * rows) * (VIEWS * global_batch_size) * width


def model_flops(size: EncoderSize, num_samples: int, rows: int, global_batch_size: int) -> int:
    """Returns the FLOPs of network and loss per training step on a device with `rows` patients."""
    flops = encoder_flops(size, num_samples, rows)
    return flops + loss_flops(rows, global_batch_size, size.embedding_width)


def conv_shapes(size: EncoderSize, num_samples: int, in_channels: int = 1) -> dict[ConvShape, int]:
    """Returns the grouped convolutions of a `Net1D` in order, with the number of each."""
    counts: collections.Counter[ConvShape] = collections.Counter()
    length = num_samples
    for conv in (size.stem(in_channels), *(c for b in size.blocks() for c in b.convolutions)):
        if conv.taps > 1:
            depth = conv.group_channels
            shape = ConvShape(length, conv.taps, depth, conv.channels, conv.groups, conv.stride)
            counts[shape] += 1
        length = conv.output_length(length)
    return dict(counts)
