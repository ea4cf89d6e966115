"""Baselines are found by scanning, and the formula among them sees rhythm and spectrum."""

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import baselines, mesh as mesh_lib
from clef_jax.baselines import classical
from clef_jax.embedding.recipe import Recipe
from clef_jax.simulation import strip

ONE = mesh_lib.make_mesh(jax.devices()[:1])
CONTEXT = baselines.Context(mesh=ONE, size="tiny", recipe=Recipe(), num_seeds=2, seed=5)


def test_all_are_found_and_make_encoders():
    assert baselines.names() == ["classical", "untrained"]
    made = [one for name in baselines.names() for one in baselines.make(name, CONTEXT)]
    assert [one.name for one in made] == [
        "rhythm and spectrum",
        "random tiny, seed 5",
        "random tiny, seed 6",
    ]
    adc = np.stack([strip.make(n, ("I",), sample_rate_hz=500, num_samples=5000)[0] for n in (1, 2)])
    adc = np.rint(1000 * adc).astype(np.int16)
    for one in made:
        found = np.asarray(one(adc, np.full(2, 1000.0), np.zeros(2), 500.0))
        assert found.shape == (2, one.num_features)
        assert np.isfinite(found).all()
        assert one.layers
        assert one.costs["parameters"] >= 0
    assert len({one.fingerprint for one in made}) == 3


def test_an_unknown_one_is_told():
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


def test_an_irregular_rhythm_is_told_from_a_regular_one():
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
    adc = np.zeros((2, 5000), np.int16)
    adc[1] = -32768
    found = formula(adc, np.ones(2), np.zeros(2), 500.0)
    assert np.isfinite(found).all()


def test_features_do_not_depend_on_the_rate():
    (formula,) = baselines.make("classical", CONTEXT)
    found = []
    for rate in (250, 500):
        signal = strip.make(3, ("I",), sample_rate_hz=rate, num_samples=10 * rate)[0]
        adc = np.rint(1000 * signal).astype(np.int16)[None]
        found.append(np.asarray(formula(adc, np.full(1, 1000.0), np.zeros(1), float(rate)))[0])
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.95
