"""The least time of a step: by its operations, by its memory traffic, by its exchanges."""

import dataclasses
from collections.abc import Iterable

from clef_jax.models import cost
from clef_jax.models.size import EncoderSize
from clef_jax.planning.hlo import Collective
from clef_jax.planning.topology import Topology

_STATE_BYTES_PER_PARAMETER = 4 * 10
"""Parameters read in both passes and by the optimiser, gradient written and read, two moments and
the parameters read and written: float32 each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds that one device needs at least; None where its chip's rate is not known."""

    compute_seconds: float | None
    memory_seconds: float | None
    exchange_seconds: float | None

    @property
    def seconds(self) -> float | None:
        """The largest of the three, as if they overlapped perfectly."""
        known = (self.compute_seconds, self.memory_seconds, self.exchange_seconds)
        return None if None in known else max(x for x in known if x is not None)

    @property
    def bound(self) -> str | None:
        """Which of the three is the largest."""
        if self.seconds is None:
            return None
        return {
            self.compute_seconds: "operations",
            self.memory_seconds: "memory traffic",
            self.exchange_seconds: "exchanges",
        }[self.seconds]


def make(
    topology: Topology,
    model_flops: float,
    least_bytes: float,
    collectives: Iterable[Collective],
) -> Roofline:
    """Of operations and memory traffic per device and step."""
    chip = topology.chip
    return Roofline(
        compute_seconds=_over(model_flops, chip.peak_flops_per_second),
        memory_seconds=_over(least_bytes, chip.memory_bytes_per_second),
        exchange_seconds=exchange_seconds(topology, collectives),
    )


def exchange_seconds(topology: Topology, collectives: Iterable[Collective]) -> float | None:
    """Time of all collectives one after another, at full bandwidth and without latency.

    What crosses between islands is first reduced within them, so that each device sends its share.
    """
    sent = sum(collective.sent_bytes for collective in collectives)
    if topology.num_devices == 1:
        return 0.0
    within = _over(sent, topology.chip.link_bytes_per_second)
    if topology.island_devices == topology.num_devices:
        return within
    across = _over(sent / topology.island_devices, topology.chip.network_bytes_per_second)
    return None if within is None or across is None else within + across


def _over(amount: float, rate: float | None) -> float | None:
    return None if rate is None else amount / rate


def least_bytes(size: EncoderSize, num_samples: int, rows: int, value_bytes: int) -> int:
    """Memory traffic of a step if every layer and every gate read its input and wrote its output
    once, with all that is elementwise done on the way; a backward pass takes twice as much."""
    stem = size.stem()
    length = stem.output_length(num_samples)
    values = num_samples + length * stem.channels
    for block in size.blocks():
        values += length * block.in_channels  # read by the shortcut
        for conv in block.convolutions:
            values += length * conv.in_channels
            length = conv.output_length(length)
            values += length * conv.channels
        # The gate needs a mean over time first, so its input is read again.
        values += 2 * length * block.channels
    state = cost.num_parameters(size) * _STATE_BYTES_PER_PARAMETER
    return cost.PASSES * cost.VIEWS * rows * values * value_bytes + state
