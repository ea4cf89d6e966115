"""The encoder's sizes, and the description of its structure that they share.

Everything that depends on the network's structure (the module itself, its costs, its convolutions,
the names of its weights, its ONNX graph) uses `EncoderSize.stem` and `EncoderSize.blocks`.
"""

import dataclasses
from collections.abc import Iterator

from clef_jax import plugin
from clef_jax.errors import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvSpec:
    """Shape of one convolution over time; a linear map has one tap."""

    name: str
    """Name of its attribute in the network."""
    in_channels: int
    channels: int
    taps: int = 1
    groups: int = 1
    stride: int = 1

    @property
    def group_channels(self) -> int:
        """Input channels that each output channel reads."""
        return self.in_channels // self.groups

    def output_length(self, length: int) -> int:
        """Returns the number of output samples for `length` input samples."""
        return -(-length // self.stride)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """Shape of one residual block."""

    stage: int
    """Index of its stage, from 0."""
    number: int
    """Index within the stage, from 0."""
    in_channels: int
    channels: int
    middle_channels: int
    """Input and output channels of the grouped convolution."""
    groups: int
    taps: int
    """Taps of the grouped convolution."""
    stride: int
    """1, or 2 to halve the number of samples."""

    @property
    def activates_input(self) -> bool:
        """Whether the block activates and may scale its input, as all but the first block do."""
        return self.stage > 0 or self.number > 0

    @property
    def convolutions(self) -> tuple[ConvSpec, ...]:
        """The convolutions of the residual path, in order of application."""
        middle = self.middle_channels
        return (
            ConvSpec(name="reduce", in_channels=self.in_channels, channels=middle),
            ConvSpec(
                name="mix",
                in_channels=middle,
                channels=middle,
                taps=self.taps,
                groups=self.groups,
                stride=self.stride,
            ),
            ConvSpec(name="expand", in_channels=middle, channels=self.channels),
        )

    @property
    def gate(self) -> tuple[ConvSpec, ...]:
        """The linear maps of the squeeze-excitation, applied to the mean over time."""
        squeezed = self.channels // 2
        return (
            ConvSpec(name="squeeze", in_channels=self.channels, channels=squeezed),
            ConvSpec(name="excite", in_channels=squeezed, channels=self.channels),
        )

    def output_length(self, length: int) -> int:
        """Returns the number of output samples for `length` input samples."""
        return -(-length // self.stride)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """Shape of a `Net1D`."""

    stem_channels: int
    stage_channels: tuple[int, ...]
    """Channels of each stage; the last is the width of the embedding."""
    stage_blocks: tuple[int, ...]
    """Residual blocks of each stage; the first halves the number of samples."""
    middle_ratio: float
    """Channels of the grouped convolution, divided by the channels of the stage."""
    group_width: int
    """Stage channels per group: `groups = channels // group_width`."""
    kernel_taps: int = 16
    """Taps of the stem and of the grouped convolutions, in samples of their own input."""

    def __post_init__(self):
        if len(self.stage_channels) != len(self.stage_blocks):
            raise ValueError(
                f"stage_channels has {counted(len(self.stage_channels), 'entry')} but stage_blocks "
                f"{len(self.stage_blocks)}; both need one entry per stage."
            )
        for channels in self.stage_channels:
            if channels % self.group_width or self.middle_channels(channels) % self.groups(
                channels
            ):
                raise ValueError(
                    f"A stage of {counted(channels, 'channel')} cannot be divided into groups of "
                    f"{self.group_width} with a middle ratio of {self.middle_ratio}."
                )

    def middle_channels(self, channels: int) -> int:
        """Returns the channels of the grouped convolution in a stage of `channels`."""
        return int(channels * self.middle_ratio)

    def groups(self, channels: int) -> int:
        """Returns the groups of the grouped convolution in a stage of `channels`."""
        return channels // self.group_width

    @property
    def embedding_width(self) -> int:
        """Width D of the embedding."""
        return self.stage_channels[-1]

    def stem(self, in_channels: int = 1) -> ConvSpec:
        """Returns the convolution before the first block, for signals of `in_channels`."""
        return ConvSpec(
            name="stem",
            in_channels=in_channels,
            channels=self.stem_channels,
            taps=self.kernel_taps,
            stride=2,
        )

    def blocks(self) -> Iterator[BlockSpec]:
        """Yields the residual blocks in order of application."""
        in_channels = self.stem_channels
        for stage, (channels, depth) in enumerate(
            zip(self.stage_channels, self.stage_blocks, strict=True)
        ):
            for number in range(depth):
                yield BlockSpec(
                    stage=stage,
                    number=number,
                    in_channels=in_channels,
                    channels=channels,
                    middle_channels=self.middle_channels(channels),
                    groups=self.groups(channels),
                    taps=self.kernel_taps,
                    stride=1 if number else 2,
                )
                in_channels = channels


SIZES: dict[str, EncoderSize] = {
    "tiny": EncoderSize(
        stem_channels=8,
        stage_channels=(8, 16),
        stage_blocks=(1, 2),
        middle_ratio=0.5,
        group_width=8,
    ),
    "small": EncoderSize(
        stem_channels=32,
        stage_channels=(32, 64, 64, 128, 128, 256),
        stage_blocks=(1, 1, 2, 2, 2, 2),
        middle_ratio=0.5,
        group_width=8,
    ),
    "medium": EncoderSize(
        stem_channels=64,
        stage_channels=(64, 160, 160, 400, 400, 1024, 1024),
        stage_blocks=(2, 2, 2, 3, 3, 4, 4),
        middle_ratio=1.0,
        group_width=16,
    ),
    "large": EncoderSize(
        stem_channels=128,
        stage_channels=(128, 256, 256, 512, 512, 1024, 1024, 2048, 2048),
        stage_blocks=(2, 3, 3, 4, 4, 5, 5, 6, 6),
        middle_ratio=1.5,
        group_width=32,
    ),
}


def name_of(size: EncoderSize) -> str:
    """Returns the name of one of `SIZES`."""
    return next(name for name, known in SIZES.items() if known == size)


def by_name(name: str) -> EncoderSize:
    """Returns the size called `name`.

    Raises:
        ValueError: the name is unknown; the message suggests the nearest.
    """
    if name in SIZES:
        return SIZES[name]
    raise ValueError(plugin.unknown("encoder size", name, SIZES))
