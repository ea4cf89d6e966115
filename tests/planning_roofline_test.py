import dataclasses

import pytest

from clef_jax.models.size import SIZES
from clef_jax.planning import roofline, topology
from clef_jax.planning.hlo import Collective


def exchange(num_bytes, group_size, kind="all-gather"):
    return Collective(kind, "", 1, num_bytes, group_size, "f32[1]")


def test_the_slowest_of_the_three_decides():
    v5e = topology.by_name("v5e:4x4")
    found = roofline.make(v5e, 197e12, 819e9 / 2, [exchange(200e9 / 10, 16)])
    assert (found.compute_seconds, found.memory_seconds) == (1.0, 0.5)
    assert found.exchange_seconds == pytest.approx(0.1 * 15 / 16)
    assert (found.seconds, found.bound) == (1.0, "operations")
    found = roofline.make(v5e, 197e12, 819e9 * 2, [])
    assert (found.seconds, found.bound) == (2.0, "memory traffic")
    found = roofline.make(v5e, 1.0, 1.0, [exchange(200e9, 16)])
    assert found.bound == "exchanges"


def test_a_machine_without_known_rates_has_no_roofline():
    found = roofline.make(topology.by_name("cpu:8"), 1.0, 1.0, [exchange(1, 8)])
    assert (found.seconds, found.bound) == (None, None)


def test_between_islands_each_device_sends_its_share_over_the_network():
    one, two = topology.by_name("v5e:16x16"), topology.by_name("2xv5e:16x16")
    sent = exchange(1e9, 512).sent_bytes
    within = roofline.exchange_seconds(one, [exchange(1e9, 512)])
    across = roofline.exchange_seconds(two, [exchange(1e9, 512)])
    assert within == pytest.approx(sent / 200e9)
    assert across - within == pytest.approx(sent / 256 / 3.1e9)
    # Not every chip's network is in the tables.
    assert roofline.exchange_seconds(topology.by_name("2xv4:4x4x4"), [exchange(1, 128)]) is None
    assert roofline.exchange_seconds(topology.by_name("h100:1"), [exchange(1e9, 1)]) == 0


@pytest.mark.parametrize(
    ("size", "megabytes"),
    # One forward pass of one signal of 5000 samples, from another count, in bfloat16.
    [("small", 3.5), ("medium", 20.2), ("large", 49.9)],
)
def test_memory_traffic_of_the_sizes(size, megabytes):
    size = SIZES[size]
    passes = 3 * 2
    of_state = roofline.least_bytes(size, 5000, 0, 2)
    per_signal = (roofline.least_bytes(size, 5000, 7, 2) - of_state) / 7 / passes
    assert per_signal / 1e6 == pytest.approx(megabytes, rel=0.02)


def test_a_tiny_network_moves_what_can_be_counted_by_hand():
    tiny = dataclasses.replace(SIZES["tiny"], stage_channels=(8,), stage_blocks=(1,))
    # 16 samples; stem 8 x 8; one block halves to 4: 1x1 8 -> 4, grouped 4 -> 4, 1x1 4 -> 8, gate.
    values = 16 + 8 * 8 + 8 * (8 + 4) + (8 * 4 + 4 * 4) + 4 * (4 + 8) + (2 * 4 * 8 + 8 * 8)
    state = roofline.least_bytes(tiny, 16, 0, 4)
    assert roofline.least_bytes(tiny, 16, 3, 4) - state == 3 * 2 * 3 * values * 4
