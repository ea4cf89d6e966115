"""Figures of a timed step are computed correctly."""

import benchmark_modules
import pytest

from clef_jax.chip import CHIPS
from clef_jax.models import SIZES, cost

work = benchmark_modules.load("bench_work")


def outcome(num_devices=1, precision="bfloat16"):
    return {
        "machine": {"num_devices": num_devices},
        "precision": precision,
        "step_seconds": [0.3, 0.1, 0.2],
        "compile_seconds": 9.0,
        "peak_bytes": 5,
        "planned_bytes": 6,
        "available_bytes": 7,
    }


def figures(chip, size="medium", batch=256, **changes):
    return work.figures(
        outcome(**changes),
        size=size,
        global_batch_size=batch,
        num_samples=5000,
        conv_choices="table",
        chip=chip,
    )


def test_shares_are_of_the_chip_and_of_the_median_step():
    found = figures(CHIPS["h100"])
    encoder = 3 * 2 * 256 * cost.forward_flops(SIZES["medium"], 5000)
    assert found.step_seconds == 0.2
    assert found.pairs_per_second == pytest.approx(1280)
    assert found.model_flops_per_second == pytest.approx(encoder / 0.2, rel=0.01)
    assert found.model_flops_utilization == pytest.approx(encoder / 0.2 / 989e12, rel=0.01)
    assert found.roofline_bound == "memory traffic"
    assert found.roofline_share == pytest.approx(found.roofline_seconds / 0.2)
    assert 0.3 > found.roofline_share > found.model_flops_utilization
    assert (found.peak_bytes, found.planned_bytes, found.available_bytes) == (5, 6, 7)


def test_devices_share_a_batch_and_each_has_its_own_peak():
    one, two = figures(CHIPS["h100"]), figures(CHIPS["h100"], batch=512, num_devices=2)
    assert two.pairs_per_second == pytest.approx(2 * one.pairs_per_second)
    assert two.model_flops_utilization == pytest.approx(one.model_flops_utilization, rel=0.01)
    assert two.roofline_seconds == one.roofline_seconds


def test_wider_values_take_more_memory_traffic():
    narrow, wide = figures(CHIPS["h100"]), figures(CHIPS["h100"], precision="float32")
    assert wide.roofline_seconds > 1.5 * narrow.roofline_seconds


def test_what_is_not_known_of_a_chip_stays_unknown():
    found = figures(None, precision="float32")
    assert found.model_flops_utilization is None
    assert found.roofline_seconds is None
    assert found.roofline_share is None
    assert found.roofline_bound is None
    assert found.model_flops_per_second > 0


def test_medium_on_an_h100_needs_the_pairs_that_its_operations_allow():
    assert work.required_pairs_per_second("medium", 5000) == pytest.approx(21_700, rel=0.01)
    assert work.required_pairs_per_second("small", 5000) > work.required_pairs_per_second(
        "medium", 5000
    )
