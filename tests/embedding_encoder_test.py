"""Embeddings are those of the encoder after the reference's preprocessing, at any rate."""

import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.signal import adc as adc_lib, reference
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

GAIN, BASELINE = 200.0, -7
ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def encoder():
    return encoder_lib.random("tiny", ONE, seed=0)


def recordings(rate, count=8):
    """int16 [B, T] of ten seconds, one with a gap and one flat."""
    mv = [
        simulated_ecg.make(n, ("I",), sample_rate_hz=rate, num_samples=10 * rate)[0]
        for n in range(count)
    ]
    adc = (np.rint(np.stack(mv) * GAIN) + BASELINE).astype(np.int16)
    adc[1, 2 * rate : 3 * rate] = adc_lib.MISSING_ADC
    adc[2] = BASELINE
    return adc


def call(encoder, adc, rate):
    count = len(adc)
    signal_mv = adc_lib.to_mv(adc, np.full(count, GAIN), np.full(count, BASELINE))
    return np.asarray(encoder(signal_mv[:, None], rate))


@pytest.mark.parametrize("rate", [100, 250, 300, 500, 1000])
def test_preprocessing_is_the_reference_s(rate, encoder):
    adc = recordings(rate)
    signal = adc_lib.to_mv(adc, np.full(8, GAIN), np.full(8, BASELINE), float)
    signal = reference.resample(reference.fill_gaps(signal), rate, 500)
    signal = reference.zscore(reference.bandpass(signal, 500)).astype(np.float32)
    stages = nnx.merge(encoder.graph, encoder.params).stages(signal[..., None])
    want = np.concatenate([np.asarray(stage) for stage in stages], axis=1)
    got = call(encoder, adc, float(rate))
    assert got.shape == (8, encoder.num_features)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_layers_are_stages_and_the_last_is_the_embedding(encoder):
    assert encoder.layers == {"stage_1": slice(0, 8), "stage_2": slice(8, 24)}
    assert encoder_lib.layer_slice(encoder, "last") == slice(8, 24)
    assert encoder_lib.layer_slice(encoder, "stage_1") == slice(0, 8)
    with refuses("'stage_9'", "last", "stage_1", "stage_2"):
        encoder_lib.layer_slice(encoder, "stage_9")


def test_any_number_of_devices_gives_the_same(encoder):
    many = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.devices()[:4]), seed=0)
    adc = recordings(500)
    np.testing.assert_allclose(call(many, adc, 500.0), call(encoder, adc, 500.0), atol=1e-5)


def test_fingerprints_tell_weights_and_preprocessing_apart(encoder):
    same = encoder_lib.random("tiny", ONE, seed=0)
    other = encoder_lib.random("tiny", ONE, seed=1)
    band = encoder_lib.random("tiny", ONE, seed=0, recipe=Recipe(band_hz=(0.5, 40.0)))
    assert encoder.fingerprint == same.fingerprint
    assert len({encoder.fingerprint, other.fingerprint, band.fingerprint}) == 3


def test_windows_of_another_length_are_refused(encoder):
    with refuses(5000, 4000, error=ValueError):
        call(encoder, recordings(500)[:, :4000], 500.0)
