"""What an encoder costs, counted from its shape alone."""

import collections
from collections.abc import Iterator
from typing import NamedTuple

from clef_jax.convolution.rules import ConvShape
from clef_jax.models.size import ConvSpec, EncoderSize

VIEWS = 2
"""Views that a training step takes of each patient."""

PASSES = 3
"""Cost of a training step in forward passes: one forward pass, and a backward pass of two."""


class LinearOp(NamedTuple):
    """One linear map or convolution, applied at so many places in time."""

    in_channels: int
    """Inputs of each output."""
    out_channels: int
    taps: int
    length: int

    @property
    def num_parameters(self) -> int:
        return self.out_channels * (self.in_channels * self.taps + 1)

    @property
    def flops(self) -> int:
        """Two per multiply-add; biases are not counted."""
        return 2 * self.length * self.out_channels * self.in_channels * self.taps


def layers(size: EncoderSize, num_samples: int, in_channels: int = 1) -> Iterator[LinearOp]:
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
    """Weights and biases."""
    return sum(layer.num_parameters for layer in layers(size, 1, in_channels))


def forward_flops(size: EncoderSize, num_samples: int, in_channels: int = 1) -> int:
    """Floating-point operations of the layers for one signal; a training step takes three times
    as many (one forward pass, two in the backward one)."""
    return sum(layer.flops for layer in layers(size, num_samples, in_channels))


def encoder_flops(size: EncoderSize, num_samples: int, rows: int) -> int:
    """Returns the operations of the encoder in one training step over `rows` patients."""
    return PASSES * VIEWS * rows * forward_flops(size, num_samples)


def loss_flops(rows: int, global_batch_size: int, width: int) -> int:
    """Returns the operations of the similarities of a device's `rows` patients with all patients,
    and of their gradient."""
    return PASSES * 2 * (VIEWS * rows) * (VIEWS * global_batch_size) * width


def model_flops(size: EncoderSize, num_samples: int, rows: int, global_batch_size: int) -> int:
    """Returns the operations of the network and the loss in one training step of one device with
    `rows` patients."""
    flops = encoder_flops(size, num_samples, rows)
    return flops + loss_flops(rows, global_batch_size, size.embedding_width)


def conv_shapes(size: EncoderSize, num_samples: int, in_channels: int = 1) -> dict[ConvShape, int]:
    """Returns the grouped convolutions of a `Net1D` and how often each occurs, in order."""
    counts: collections.Counter[ConvShape] = collections.Counter()
    length = num_samples
    for conv in (size.stem(in_channels), *(c for b in size.blocks() for c in b.convolutions)):
        if conv.taps > 1:
            depth = conv.group_channels
            shape = ConvShape(length, conv.taps, depth, conv.channels, conv.groups, conv.stride)
            counts[shape] += 1
        length = conv.output_length(length)
    return dict(counts)
