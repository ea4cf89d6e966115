import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.objectives import _distance


def test_batch_scale_is_the_min_max_of_the_squared_differences():
    rng = np.random.default_rng(0)
    risk = rng.gamma(2, 4, 50)
    squared = (risk[:, None] - risk[None, :]) ** 2
    position, mean = _distance.on_batch_scale(jnp.asarray(risk, jnp.float32), jnp.ones(50, bool))
    gaps = np.asarray(position)[:, None] - np.asarray(position)[None, :]
    np.testing.assert_allclose(gaps**2, squared / (squared.max() + 1e-6), atol=1e-6)
    off_diagonal = ~np.eye(50, dtype=bool)
    np.testing.assert_allclose(mean, (squared / squared.max())[off_diagonal].mean(), rtol=1e-5)


def test_unknown_risks_do_not_stretch_the_batch_scale():
    risk = jnp.asarray([1.0, 2.0, 3.0, 0.0])
    known = jnp.asarray([True, True, True, False])
    position, mean = _distance.on_batch_scale(risk, known)
    want_position, want_mean = _distance.on_batch_scale(risk[:3], known[:3])
    np.testing.assert_array_equal(position[:3], want_position)
    np.testing.assert_array_equal(mean, want_mean)


@pytest.mark.parametrize("num_known", [0, 1])
def test_without_two_known_risks_the_mean_gap_is_zero(num_known):
    position, mean = _distance.on_batch_scale(jnp.full(4, 3.0), jnp.arange(4) < num_known)
    assert mean == 0
    assert np.isfinite(position).all()


def test_cohort_scale_spans_the_first_to_the_ninety_ninth_percentile():
    cohort = tuple(np.linspace(0, 10, 101))
    values, positions, mean = _distance.cohort_scale(cohort, "cohort")
    np.testing.assert_allclose(values, [0.1, 9.9])
    np.testing.assert_array_equal(positions, [0, 1])
    # Two uniform draws differ by 1/6 in the mean square; clipping takes a little of it.
    assert mean == pytest.approx(1 / 6, rel=0.05)


def test_ranks_are_uniform_over_the_cohort_whatever_its_distribution():
    levels = np.linspace(0, 1, 201)
    cohort = tuple(np.exp(3 * levels))
    values, positions, mean = _distance.cohort_scale(cohort, "rank")
    np.testing.assert_allclose(np.interp(np.exp(3 * 0.37), values, positions), 0.37, atol=1e-6)
    assert mean == pytest.approx(1 / 3, rel=1e-3)


def test_patients_of_equal_risk_share_a_rank():
    values, positions, _ = _distance.cohort_scale((0.0, 1.0, 1.0, 1.0, 2.0), "rank")
    np.testing.assert_array_equal(values, [0, 1, 2])
    np.testing.assert_allclose(positions, [0, 0.5, 1])


@pytest.mark.parametrize("kind", ["cohort", "rank"])
def test_a_cohort_of_one_risk_has_no_distances(kind):
    _, positions, mean = _distance.cohort_scale((0.3, 0.3, 0.3), kind)
    assert mean == 0
    assert np.ptp(positions) == 0
