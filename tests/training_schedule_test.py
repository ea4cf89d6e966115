import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.training import schedule


def rates(num_epochs, steps_per_epoch=3):
    rate = schedule.warm_restarts(
        1e-4, 1e-6, steps_per_epoch=steps_per_epoch, num_epochs=num_epochs
    )
    return np.array([rate(epoch * steps_per_epoch) for epoch in range(num_epochs)])


def test_restarts_before_epochs_10_30_and_70():
    rate = rates(100)
    rises = np.flatnonzero(np.diff(rate) > 0) + 1
    np.testing.assert_array_equal(rises, [10, 30, 70])
    np.testing.assert_allclose(rate[[0, 10, 30, 70]], 1e-4, rtol=1e-6)


def test_hundred_epochs_end_where_the_reference_ends():
    # Epoch 99 is 29 epochs into the cycle of 80, so the rate is far from its minimum.
    want = 1e-6 + (1e-4 - 1e-6) * (1 + np.cos(np.pi * 29 / 80)) / 2
    np.testing.assert_allclose(rates(100)[-1], want, rtol=1e-6)


def test_rate_is_constant_within_an_epoch_and_kept_after_the_last():
    rate = schedule.warm_restarts(1e-4, 1e-6, steps_per_epoch=4, num_epochs=5)
    assert rate(4) == rate(7) != rate(8)
    assert rate(19) == rate(1000)


def make(total_steps=100, **settings):
    config = TrainConfig(data_dir="", workdir="", **settings)
    return schedule.make(config, steps_per_epoch=10, total_steps=total_steps)


@pytest.mark.parametrize("name", ["warm_restarts", "cosine"])
def test_warm_up_rises_from_zero(name):
    rate = make(schedule=name, warmup_steps=10)
    np.testing.assert_allclose([rate(0), rate(4), rate(9)], [0, 4e-5, 9e-5], rtol=1e-6)


def test_cosine_ends_at_the_lowest_rate():
    np.testing.assert_allclose(make(schedule="cosine")(100), 1e-6, rtol=1e-3)


def test_warm_up_longer_than_the_run_is_refused():
    with refuses("--warmup-steps=100", "100 steps", problem="warmup_too_long"):
        make(schedule="cosine", warmup_steps=100)
