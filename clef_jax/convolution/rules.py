"""Selects the implementation of a grouped convolution.

The default rules are the same on every machine of a platform. Tuning results of one kind of device
(`clef_jax.autotune`) replace them only inside `use_tuning`.

Reasons for CPU: time of one convolution on two AMD Zen 4 cores, float32, forward and backward.
Reasons for TPU: the compiler's estimate for one v5e chip, bfloat16, in thousand cycles forward and
backward.
"""

import dataclasses
import math
from typing import NamedTuple

from clef_jax.convolution.lanes import LANES
from clef_jax.scoped import Block, Scoped


class Choice(NamedTuple):
    """A selected implementation."""

    implementation: str
    """Name of the implementation, a key of `grouped.IMPLEMENTATIONS`."""
    block: int = 8
    """Outputs per block; only `toeplitz` uses it."""


class ConvShape(NamedTuple):
    """Shape of a grouped convolution, on which the selection depends."""

    length: int
    """Samples of the input."""
    taps: int
    group_channels: int
    """Input channels per group."""
    channels: int
    """Output channels of all groups."""
    groups: int
    stride: int


class _Rule(NamedTuple):
    platform: str
    """Prefix of the platform's name; empty for any."""
    most_group_channels: int
    """Largest number of channels per group to which the rule applies."""
    choice: Choice
    reason: str
    most_groups: int = 1 << 30
    """Largest number of groups to which the rule applies."""
    signals_of: int = 1
    """The rule applies to multiples of this number of signals per device."""


_ANY = 1 << 30

RULES = (
    # Larger blocks multiply by more zeros, smaller ones copy every sample into more windows.
    # Measured with 32 signals of small, 8 of medium or 4 of large.
    _Rule("cpu", 1, Choice("toeplitz", 2), "5000x1, the stem: 3.2 ms, blocks of 8 5.1"),
    _Rule("cpu", 8, Choice("toeplitz", 8), "2500x16, 4 groups: 6 ms, lax 256, dense 123"),
    _Rule("cpu", 31, Choice("toeplitz", 4), "157x400, 25 groups: 12 ms, lax 224, taps 94"),
    _Rule(
        "cpu",
        _ANY,
        Choice("toeplitz", 4),
        "625x384, 8 groups: 38 ms, blocks of 2 62",
        most_groups=8,
    ),
    _Rule("cpu", _ANY, Choice("toeplitz", 2), "40x1536, 32 groups: 19 ms, lax 595, taps 78"),
    # Estimated with the operations before and after it: 512 signals of small, 128 of medium.
    _Rule("tpu", 8, Choice("dense"), "2500x16, 4 groups: 2826, spatial 2997", most_groups=8),
    # "spatial" keeps the signals of a batch in the lanes. Batches that do not fill the lanes are
    # copied: a step of large with 64 signals takes 127 million cycles, but 110 with "lax".
    _Rule("tpu", _ANY, Choice("spatial"), "625x160, 10 groups: 1387, lax 2069", signals_of=LANES),
    _Rule("tpu", 8, Choice("dense"), "625x32, 8 groups: 169, lax 224, toeplitz 1427"),
    _Rule("tpu", _ANY, Choice("lax"), "157x400, 25 groups: 1039, dense 2579, toeplitz 3783"),
    # Estimated by XLA:GPU for H100, bfloat16, 256 signals, in microseconds; cuDNN at its roofline.
    _Rule("gpu", _ANY, Choice("even"), "625x160, 10 groups: 247, lax 310, toeplitz 848"),
    _Rule("", _ANY, Choice("lax"), "cuDNN is the safe default where nothing was measured"),
)

_FAR = 2.0
"""Largest ratio between the lengths of two convolutions that share a tuning result."""


class TuningResult(NamedTuple):
    """Tuning result: the fastest implementation of one convolution in training."""

    shape: ConvShape
    dtype: str
    """Number format of the activations: `float32` or `bfloat16`."""
    choice: Choice


@dataclasses.dataclass(frozen=True)
class TuningResults:
    """Tuning results of one kind of device."""

    platform: str
    """JAX's name of the platform: `cpu`, `gpu` or `tpu`."""
    device_kind: str
    measured: tuple[TuningResult, ...]

    def find(self, shape: ConvShape, dtype: str) -> Choice | None:
        """Returns the tuning result for this shape or the nearest length; None without any."""
        near = [
            (abs(math.log(shape.length / result.shape.length)), result.choice)
            for result in self.measured
            if result.dtype == dtype and result.shape._replace(length=shape.length) == shape
        ]
        distance, choice = min(near, default=(math.inf, None))
        return choice if distance <= math.log(_FAR) else None


_tuning = Scoped[TuningResults | None]("tuning", None)


def use_tuning(results: TuningResults | None) -> Block:
    """Applies tuning results to everything traced inside the block for their platform.

    The default rules apply to other convolutions, and to all if `results` is None.
    """
    return _tuning.use(results)


def choose(platform: str, shape: ConvShape, dtype: str, num_signals: int = LANES) -> Choice:
    """Returns the implementation from `use_tuning`, else from the default rules.

    Args:
        platform: `cpu`, `tpu` or `gpu`.
        shape: shape of the convolution.
        dtype: number format of the activations.
        num_signals: number of signals per device.
    """
    results = _tuning.get()
    tuned = None
    if results is not None and results.platform == platform:
        tuned = results.find(shape, dtype)
    return tuned or default_choice(platform, shape.group_channels, shape.groups, num_signals)


def default_choice(
    platform: str, group_channels: int, groups: int = 1, num_signals: int = LANES
) -> Choice:
    """Returns the implementation from the first default rule that applies.

    Args:
        platform: `cpu`, `tpu`, `cuda`, ...
        group_channels: input channels per group.
        groups: number of groups.
        num_signals: number of signals per device.
    """
    for rule in RULES:
        applies = group_channels <= rule.most_group_channels and groups <= rule.most_groups
        applies = applies and num_signals % rule.signals_of == 0
        if platform.startswith(rule.platform) and applies:
            return rule.choice
    raise AssertionError("The last rule applies to everything.")
