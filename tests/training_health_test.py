import numpy as np
import pytest

from clef_jax.training import health


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_identical_views_are_aligned_and_found(rng):
    view = rng.normal(size=(50, 16))
    values = health.measure(view, 3 * view, rng.random(50))
    assert values["alignment"] == pytest.approx(0, abs=1e-12)
    assert values["retrieval"] == 1


def test_collapse_is_seen(rng):
    one = np.ones((50, 16)) + 1e-9 * rng.normal(size=(50, 16))
    spread = rng.normal(size=(50, 16))
    risk = rng.random(50)
    collapsed, healthy = health.measure(one, one, risk), health.measure(spread, spread, risk)
    assert collapsed["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert healthy["effective_rank"] > 12
    assert collapsed["uniformity"] == pytest.approx(0, abs=1e-6)
    assert healthy["uniformity"] < -2


def test_effective_rank_counts_equal_directions():
    views = np.eye(8)
    assert health.measure(views, views, np.arange(8.0))["effective_rank"] == pytest.approx(8)


def test_risk_in_the_geometry_is_seen(rng):
    risk = rng.random(60)
    angle = risk * np.pi / 2
    on_arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert health.measure(on_arc, on_arc, risk)["risk_distance_correlation"] == pytest.approx(1)
    noise = rng.normal(size=(60, 2))
    assert abs(health.measure(noise, noise, risk)["risk_distance_correlation"]) < 0.2


def test_unknown_risks_are_left_out_and_too_few_give_nan(rng):
    risk = rng.random(60)
    angle = risk * np.pi / 2
    on_arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    risk[:20] = np.nan
    assert health.measure(on_arc, on_arc, risk)["risk_distance_correlation"] == pytest.approx(1)
    risk[:] = np.nan
    assert np.isnan(health.measure(on_arc, on_arc, risk)["risk_distance_correlation"])
