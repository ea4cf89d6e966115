"""Computes the least time of a step from its operations, memory traffic and collectives."""

import dataclasses
from collections.abc import Iterable

from clef_jax.models import cost
from clef_jax.models.size import EncoderSize
from clef_jax.planning.hlo import Collective
from clef_jax.planning.topology import Topology

_STATE_BYTES_PER_PARAMETER = 4 * 10
"""Traffic of a float32 parameter: 2 reads in the passes, write and read of its gradient, and read
and write of the parameter and its two moments in the optimiser."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Least seconds of one device per step; None where the chip's rate is unknown."""

    compute_seconds: float | None
    """Time of the operations at the peak rate."""
    memory_seconds: float | None
    """Time of the memory traffic at full bandwidth."""
    exchange_seconds: float | None
    """Time of the collectives at full bandwidth."""

    @property
    def seconds(self) -> float | None:
        """The largest of the three times, as if they overlapped perfectly."""
        known = (self.compute_seconds, self.memory_seconds, self.exchange_seconds)
        return None if None in known else max(x for x in known if x is not None)

    @property
    def bound(self) -> str | None:
        """Name of the largest of the three times; None if unknown."""
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
    """Returns the roofline of a step.

    Args:
        topology: the machine.
        model_flops: FLOPs per device and step.
        least_bytes: memory traffic per device and step.
        collectives: collectives of the step.
    """
    chip = topology.chip
    return Roofline(
        compute_seconds=_over(model_flops, chip.peak_flops_per_second),
        memory_seconds=_over(least_bytes, chip.memory_bytes_per_second),
        exchange_seconds=exchange_seconds(topology, collectives),
    )


def exchange_seconds(topology: Topology, collectives: Iterable[Collective]) -> float | None:
    """Returns the time in seconds of all collectives in sequence, at full bandwidth, no latency.

    Data that crosses between islands is reduced within them first, so that each device of an island
    sends an equal part of it.
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
    """Returns the bytes of memory traffic of a step with ideal fusion.

    Every layer and gate reads its input and writes its output once; elementwise work adds nothing,
    and a backward pass needs twice as much.
    """
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
