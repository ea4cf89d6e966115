"""Baselines are discovered, and the classical one measures rhythm and spectrum."""

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import baselines, mesh as mesh_lib
from clef_jax.baselines import classical
from clef_jax.embedding.recipe import Recipe
from clef_jax.evaluation import models
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])
CONTEXT = baselines.Context(mesh=ONE, size="tiny", recipe=Recipe(), num_seeds=2, seed=5)


def test_all_are_found_and_make_encoders():
    assert {"classical", "ecgfounder", "untrained"} <= set(baselines.names())
    made = [one for name in baselines.names() for one in baselines.make(name, CONTEXT)]
    assert [one.name for one in made] == [
        "rhythm and spectrum",
        "random tiny, seed 5",
        "random tiny, seed 6",
    ]
    signals = [simulated_ecg.make(n, ("I",), sample_rate_hz=500, num_samples=5000) for n in (1, 2)]
    signal_mv = np.stack(signals).astype(np.float32)
    for one in made:
        found = np.asarray(one(signal_mv, one.window_rate_hz(500.0)))
        assert found.shape == (2, one.num_features)
        assert np.isfinite(found).all()
        assert one.layers
        assert one.costs["parameters"] >= 0
    assert len({one.fingerprint for one in made}) == 3


def test_a_baseline_that_needs_a_weight_file_names_the_flag():
    with refuses("ecgfounder", "--model"):
        models.collect([], "ecgfounder", ONE, size="tiny", num_seeds=1, seed=0)


def test_an_unknown_baseline_is_rejected():
    with refuses("'untrain'", "'untrained'"):
        list(baselines.make("untrain", CONTEXT))


def spikes(beat_seconds, rate=250, seconds=10):
    """A signal with a narrow complex at each time."""
    time = np.arange(seconds * rate) / rate
    return sum(np.exp(-(((time - at) / 0.012) ** 2)) for at in beat_seconds)


@pytest.mark.parametrize("rate", [125, 250, 500])
def test_beats_are_where_they_were_put(rate):
    wanted = np.arange(0.6, 9.6, 0.8)
    noise = 0.03 * np.random.default_rng(0).normal(size=10 * rate)
    found = classical.beats(spikes(wanted, rate) + noise, rate)
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_an_irregular_rhythm_is_distinguished_from_a_regular_one():
    regular = classical.rhythm(np.arange(0.5, 9.5, 0.8))
    rng = np.random.default_rng(0)
    irregular = classical.rhythm(np.cumsum(rng.uniform(0.4, 1.2, 11)))
    assert regular[3] < 1e-6 < 0.1 < irregular[3]
    assert regular[5] < 1e-6 < 0.1 < irregular[5]
    assert not classical.rhythm(np.array([1.0])).any()


def test_the_spectrum_has_its_power_where_the_signal_has():
    time = np.arange(5000) / 500
    found = classical.spectrum(np.sin(2 * np.pi * 10 * time)[None], 500)[0]
    low, high = classical.BAND_EDGES_HZ[found.argmax() :][:2]
    assert low <= 10 <= high


def test_a_flat_or_missing_window_does_no_harm():
    (formula,) = baselines.make("classical", CONTEXT)
    signal_mv = np.zeros((2, 1, 5000), np.float32)
    signal_mv[1] = np.nan
    found = formula(signal_mv, 500.0)
    assert np.isfinite(found).all()


def test_features_do_not_depend_on_the_rate():
    (formula,) = baselines.make("classical", CONTEXT)
    found = []
    for rate in (250, 500):
        signal_mv = simulated_ecg.make(3, ("I",), sample_rate_hz=rate, num_samples=10 * rate)[None]
        found.append(formula(signal_mv.astype(np.float32), float(rate))[0])
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.95
