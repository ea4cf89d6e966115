"""The encoder's sizes."""

import dataclasses
import difflib


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """Shape of a `Net1D`."""

    stem_channels: int
    stage_channels: tuple[int, ...]
    """Channels after each stage; the last one is the embedding's width."""
    stage_blocks: tuple[int, ...]
    """Residual blocks in each stage; the first of them halves time."""
    middle_ratio: float
    """Channels of the grouped convolution as a multiple of the stage's channels."""
    group_width: int
    """Stage channels per group: `groups = channels // group_width`."""
    kernel_taps: int = 16
    """Taps of the stem and of the grouped convolutions, in samples of their own input."""

    def __post_init__(self):
        if len(self.stage_channels) != len(self.stage_blocks):
            raise ValueError(
                f"{len(self.stage_channels)} stage widths but {len(self.stage_blocks)} depths: "
                "give one of each per stage."
            )
        for channels in self.stage_channels:
            if channels % self.group_width or self.middle_channels(channels) % self.groups(
                channels
            ):
                raise ValueError(
                    f"A stage of {channels} channels cannot be cut into groups of "
                    f"{self.group_width} with a middle ratio of {self.middle_ratio}."
                )

    def middle_channels(self, channels: int) -> int:
        """Channels of the grouped convolution in a stage of `channels`."""
        return int(channels * self.middle_ratio)

    def groups(self, channels: int) -> int:
        """Groups of the grouped convolution in a stage of `channels`."""
        return channels // self.group_width

    @property
    def embedding_width(self) -> int:
        return self.stage_channels[-1]


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
    """What a size is called."""
    return next(name for name, known in SIZES.items() if known == size)


def by_name(name: str) -> EncoderSize:
    """The size called `name`; an unknown one raises and names its nearest neighbour."""
    if name in SIZES:
        return SIZES[name]
    near = difflib.get_close_matches(str(name), SIZES, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"There is no encoder size {name!r}; did you mean {near!r}? Sizes: {', '.join(SIZES)}."
    )
