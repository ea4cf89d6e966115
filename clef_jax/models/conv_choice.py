"""Which form of the grouped convolution runs where.

Figures for CPU: one layer on two AMD Zen 4 cores, float32, forward and backward. Figures for TPU:
the compiler's own estimate for one v5e chip, bfloat16, thousand cycles forward / backward.
"""

from typing import NamedTuple


class Choice(NamedTuple):
    """A form and, for the Toeplitz forms, the outputs per block."""

    form: str
    block: int = 8


class _Row(NamedTuple):
    platform: str
    """Prefix of the device platform's name; empty: any."""
    most_group_channels: int
    """The row holds up to this many channels per group."""
    choice: Choice
    reason: str


_ANY = 1 << 30

TABLE = (
    # Larger blocks multiply by more zeros, smaller ones copy every sample into more windows.
    _Row("cpu", 8, Choice("toeplitz", 8), "2500x16, 4 groups: 23 ms, lax 256, dense 123"),
    # Native forward is a quarter to a half faster here, as long as nobody asks for a gradient.
    _Row("cpu", 31, Choice("lax_toeplitz", 4), "157x400, 25 groups: 38 ms, lax 224, taps 94"),
    _Row("cpu", _ANY, Choice("lax_toeplitz", 2), "157x768, 16 groups: 84 ms, blocks of 4 111"),
    _Row("tpu", 8, Choice("dense"), "625x32, 8 groups: 55 / 114, lax 89 / 135, toeplitz 463 / 964"),
    _Row("tpu", _ANY, Choice("lax"), "157x400, 25 groups: 422 / 617, dense 737 / 1842"),
    _Row("", _ANY, Choice("lax"), "cuDNN is the safe default where nothing was measured"),
)


def choose(platform: str, group_channels: int) -> Choice:
    """The first row that fits a device platform (`cpu`, `tpu`, `cuda`, ...) and a layer."""
    for row in TABLE:
        if platform.startswith(row.platform) and group_channels <= row.most_group_channels:
            return row.choice
    raise AssertionError("the last row fits everything")
