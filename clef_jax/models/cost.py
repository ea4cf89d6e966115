"""What an encoder costs, counted from its shape alone."""

from collections.abc import Iterator
from typing import NamedTuple

from clef_jax.models.size import EncoderSize


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
    """Every layer of a `Net1D` for a signal of `num_samples`, in order."""
    length, channels = -(-num_samples // 2), size.stem_channels
    yield LinearOp(in_channels, channels, size.kernel_taps, length)
    for width, depth in zip(size.stage_channels, size.stage_blocks, strict=True):
        middle, groups = size.middle_channels(width), size.groups(width)
        for number in range(depth):
            yield LinearOp(channels, middle, 1, length)
            length = length if number else -(-length // 2)
            yield LinearOp(middle // groups, middle, size.kernel_taps, length)
            yield LinearOp(middle, width, 1, length)
            yield LinearOp(width, width // 2, 1, 1)
            yield LinearOp(width // 2, width, 1, 1)
            channels = width


def num_parameters(size: EncoderSize, in_channels: int = 1) -> int:
    """Weights and biases."""
    return sum(layer.num_parameters for layer in layers(size, 1, in_channels))


def forward_flops(size: EncoderSize, num_samples: int, in_channels: int = 1) -> int:
    """Floating-point operations of the layers for one signal; a training step takes three times
    as many (one forward pass, two in the backward one)."""
    return sum(layer.flops for layer in layers(size, num_samples, in_channels))
