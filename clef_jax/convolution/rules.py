"""Which form of the grouped convolution runs where.

A table decides, the same on every machine of a platform. Choices that were measured on one kind of
device (`clef_jax.autotune`) take its place only inside `use_choices`.

Figures for CPU: one layer on two AMD Zen 4 cores, float32, forward and backward. Figures for TPU:
the compiler's own estimate for one v5e chip, bfloat16, thousand cycles forward and backward.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

from clef_jax.convolution.lanes import LANES


class Choice(NamedTuple):
    """A form and, for the Toeplitz form, the outputs per block."""

    form: str
    block: int = 8


class ConvShape(NamedTuple):
    """What the choice may depend on."""

    length: int
    """Samples of the input."""
    taps: int
    group_channels: int
    """Input channels per group."""
    channels: int
    """Output channels of all groups."""
    groups: int
    stride: int


class _Row(NamedTuple):
    platform: str
    """Prefix of the device platform's name; empty: any."""
    most_group_channels: int
    """The row holds up to this many channels per group."""
    choice: Choice
    reason: str
    most_groups: int = 1 << 30
    """And up to this many groups."""
    signals_of: int = 1
    """And batches on a device that are a multiple of this."""


_ANY = 1 << 30

TABLE = (
    # Larger blocks multiply by more zeros, smaller ones copy every sample into more windows. With
    # 32 signals of small, 8 of medium or 4 of large.
    _Row("cpu", 1, Choice("toeplitz", 2), "5000x1, the stem: 3.2 ms, blocks of 8 5.1"),
    _Row("cpu", 8, Choice("toeplitz", 8), "2500x16, 4 groups: 6 ms, lax 256, dense 123"),
    _Row("cpu", 31, Choice("toeplitz", 4), "157x400, 25 groups: 12 ms, lax 224, taps 94"),
    _Row("cpu", _ANY, Choice("toeplitz", 4), "625x384, 8 groups: 38 ms, of 2 62", most_groups=8),
    _Row("cpu", _ANY, Choice("toeplitz", 2), "40x1536, 32 groups: 19 ms, lax 595, taps 78"),
    # Of the layer with those before and after it: 512 signals of small, 128 of medium.
    _Row("tpu", 8, Choice("dense"), "2500x16, 4 groups: 2826, spatial 2997", most_groups=8),
    # The signals of a batch lie in the lanes. Where they do not fill them, "spatial" is copied to
    # and fro: a step of large with 64 signals takes 127 million cycles, and 110 with "lax".
    _Row("tpu", _ANY, Choice("spatial"), "625x160, 10 groups: 1387, lax 2069", signals_of=LANES),
    _Row("tpu", 8, Choice("dense"), "625x32, 8 groups: 169, lax 224, toeplitz 1427"),
    _Row("tpu", _ANY, Choice("lax"), "157x400, 25 groups: 1039, dense 2579, toeplitz 3783"),
    _Row("", _ANY, Choice("lax"), "cuDNN is the safe default where nothing was measured"),
)

_FAR = 2.0
"""A layer this many times longer or shorter than a measured one is not like it."""


class MeasuredChoice(NamedTuple):
    """The fastest form of one layer in training, where it was measured."""

    layer: ConvShape
    dtype: str
    """Of the activations: `float32` or `bfloat16`."""
    choice: Choice


@dataclasses.dataclass(frozen=True)
class Choices:
    """What was measured on one kind of device."""

    platform: str
    """As JAX calls it: `cpu`, `gpu` or `tpu`."""
    device_kind: str
    measured: tuple[MeasuredChoice, ...]

    def find(self, layer: ConvShape, dtype: str) -> Choice | None:
        """The choice for that layer, or for the nearest length; None if none is like it."""
        near = [
            (abs(math.log(layer.length / one.layer.length)), one.choice)
            for one in self.measured
            if one.dtype == dtype and one.layer._replace(length=layer.length) == layer
        ]
        distance, choice = min(near, default=(math.inf, None))
        return choice if distance <= math.log(_FAR) else None


_choices: contextvars.ContextVar[Choices | None] = contextvars.ContextVar("choices", default=None)


@contextlib.contextmanager
def use_choices(choices: Choices | None) -> Iterator[None]:
    """Makes what is traced inside the block for the choices' platform go by them; None: the table.

    Layers that were not measured go by the table all the same.
    """
    token = _choices.set(choices)
    try:
        yield
    finally:
        _choices.reset(token)


def choose(platform: str, layer: ConvShape, dtype: str, num_signals: int = LANES) -> Choice:
    """The choice of `use_choices`, else of the table, for a platform (`cpu`, `tpu`, `gpu`) and a
    batch of so many signals on each device."""
    choices = _choices.get()
    found = None
    if choices is not None and choices.platform == platform:
        found = choices.find(layer, dtype)
    return found or of_table(platform, layer.group_channels, layer.groups, num_signals)


def of_table(
    platform: str, group_channels: int, groups: int = 1, num_signals: int = LANES
) -> Choice:
    """The first row that fits a platform (`cpu`, `tpu`, `cuda`, ...), a layer and a batch."""
    for row in TABLE:
        fits = group_channels <= row.most_group_channels and groups <= row.most_groups
        fits = fits and num_signals % row.signals_of == 0
        if platform.startswith(row.platform) and fits:
            return row.choice
    raise AssertionError("the last row fits everything")
