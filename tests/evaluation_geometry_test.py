"""Measures are correct for embeddings of known geometry."""

import jax
import numpy as np
import pytest
import scipy.stats

from clef_jax import mesh as mesh_lib
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.evaluation import geometry, geometry_plot

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


def on_circle(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_a_correlation_of_distance_and_value_is_detected():
    rng = np.random.default_rng(0)
    value = rng.random(80)
    unit = on_circle(value + 0.1 * rng.normal(size=80))
    distance, one_stratum = 1 - unit @ unit.T, np.zeros(80, int)
    found, p = geometry.mantel(distance, value, one_stratum, 199, 0)
    first, second = np.triu_indices(80, 1)
    gap = np.abs(value[first] - value[second])
    assert found == pytest.approx(scipy.stats.spearmanr(distance[first, second], gap)[0], abs=1e-5)
    assert p == pytest.approx(1 / 200)


def test_equal_embeddings_have_no_correlation_and_no_p_value():
    value, one_stratum = np.arange(20.0), np.zeros(20, int)
    assert np.isnan(geometry.mantel(np.full((20, 20), 0.5), value, one_stratum, 99, 0)).all()


def test_p_values_without_a_correlation_are_uniform():
    rng = np.random.default_rng(0)
    unit = on_circle(rng.random(40))
    distance = 1 - unit @ unit.T
    stratum = rng.integers(0, 3, 40)
    values = [geometry.mantel(distance, rng.random(40), stratum, 99, s)[1] for s in range(150)]
    assert 0.01 < np.mean(np.array(values) <= 0.05) < 0.1
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01


def test_strata_remove_the_correlation_that_they_explain():
    """Embeddings and risk depend on age alone, so pairs of the same age have no correlation."""
    rng = np.random.default_rng(0)
    age = rng.integers(8, 16, 120) * 5.0
    unit = on_circle(age / 80 + 0.001 * rng.normal(size=120))
    risk = age / 100 + 0.02 * rng.normal(size=120)
    distance = 1 - unit @ unit.T
    matched = geometry._matched(age, np.ones(120))
    assert geometry.mantel(distance, risk, np.zeros(120, int), 99, 0)[1] == pytest.approx(0.01)
    assert geometry.mantel(distance, risk, matched, 99, 0)[1] > 0.05


def test_too_few_pairs_are_not_defined():
    found = geometry.mantel(np.zeros((5, 5)), np.arange(5.0), np.zeros(5, int), 9, 0)
    assert np.isnan(found).all()


@pytest.fixture(scope="module")
def measured(data_dir):
    folder = index_lib.find(data_dir, "mimic_iv_ecg/all_records")
    splits = {split: index_lib.load(folder, split) for split in index_lib.splits(folder)}
    encoder = encoder_lib.random("tiny", ONE, seed=0)
    layer = encoder_lib.layer_slice(encoder, "last")
    return geometry.measure(encoder, splits, "I", layer, num_permutations=49)


def test_a_prepared_cohort_is_measured(measured):
    values = {measure.name: measure.value for measure in measured.measures}
    assert np.isfinite(list(values.values())).all()
    assert {
        "distance and risk",
        "distance and risk, matched",
        "nearest is the same patient",
    } <= set(values)
    assert 0.9 < values["similarity with noise of 0.05 mV"] <= 1
    assert values["similarity with noise of 0.05 mV"] > values["similarity with noise of 0.2 mV"]
    assert 1 <= values["effective rank"] <= 16


def test_a_row_of_the_table_is_a_measure_of_every_encoder(measured):
    rows = geometry.side_by_side([measured, measured])
    assert [row[0] for row in rows] == [measure.name for measure in measured.measures]
    assert all(row[1] == row[2] for row in rows)


def test_it_can_be_plotted(measured):
    assert len(geometry_plot.charts(measured)) == 6
