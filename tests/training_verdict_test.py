"""The sentence on the loss says when it did not fall."""

import numpy as np

from clef_jax.training import verdict


def test_falling_rising_and_flat_losses_are_told_apart():
    noise = 0.05 * np.random.default_rng(0).normal(size=100)
    falling, flat = np.linspace(3, 1, 100) + noise, 3 + noise
    assert "from 2.9" in verdict.on_loss(falling)
    assert "NOT" not in verdict.on_loss(falling)
    assert "NOT fall" in verdict.on_loss(flat)
    assert "ROSE" in verdict.on_loss(falling[::-1])
    assert "NOT fall" in verdict.on_loss([3.0] * 40)


def test_few_values_are_not_judged():
    assert verdict.on_loss([]) == ""
    assert verdict.on_loss([float("nan")]) == ""
    assert "too few" in verdict.on_loss([3.0, 2.0])
    assert "last 2 values" in verdict.on_loss([3.0, 3.01, 1.0, 1.01])
