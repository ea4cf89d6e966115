"""Transforms by products equal those of NumPy and SciPy, as accurately as an FFT."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from clef_jax.machine import use_platform
from clef_jax.signal import device, edge, fourier, reference


def noise(num_samples, seed=0):
    return np.random.default_rng(seed).standard_normal((3, num_samples)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_samples", "n"),
    [(5000, 10000), (5000, 5000), (1800, 3600), (77, 225), (100, 200), (7, 15), (41, 101)],
)
def test_a_spectrum_is_multiplied(num_samples, n):
    x = noise(num_samples)
    response = np.random.default_rng(1).random(n // 2 + 1)
    found = fourier.multiply_spectrum(jnp.asarray(x), jnp.asarray(response, jnp.float32), n)
    want = np.fft.irfft(np.fft.rfft(x.astype(float), n) * response, n)[:, :num_samples]
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, want, rtol=0, atol=6e-7 * np.abs(want).max())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *[(2500, 5000), (1280, 5000), (3600, 5000), (10000, 5000), (5130, 5000), (2570, 5000)],
        *[(101, 500), (100, 101), (101, 100), (225, 117), (6, 4), (5, 9)],
    ],
)
def test_resampling_is_the_fourier_method(before, after):
    x = noise(before)
    want = np.asarray(scipy.signal.resample(x.astype(float), after, axis=1))
    found = fourier.resample(jnp.asarray(x), after)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    ("num_samples", "sample_rate_hz"), [(5000, 500.0), (2500, 250.0), (3001, 300.0)]
)
def test_a_bandpass_for_a_tpu_is_as_exact_as_with_the_fft(num_samples, sample_rate_hz):
    """White noise agrees within 1e-6; slow drift, which costs precision, as well as the FFT."""
    bandpass = device.make_bandpass(num_samples, sample_rate_hz)

    def errors(platform, x):
        want = reference.bandpass(x, sample_rate_hz)
        with use_platform(platform):
            found = device.bandpass(jnp.asarray(x), bandpass)
        return np.abs(found - want).max() / np.abs(want).max()

    white = noise(num_samples)
    assert errors("tpu", white) < 1e-6
    assert errors("tpu", white.cumsum(axis=1)) < 2 * errors("cpu", white.cumsum(axis=1))


def primitives(platform, function, *arguments):
    with use_platform(platform):
        return str(jax.make_jaxpr(lambda *x: function(*x))(*arguments))


def test_only_a_tpu_is_spared_the_fft():
    x, bandpass = jnp.zeros((1, 1000)), device.make_bandpass(1000, 500.0)
    for platform in ("cpu", "gpu"):
        assert " fft[" in primitives(platform, device.bandpass, x, bandpass)
    assert " fft[" not in primitives("tpu", device.bandpass, x, bandpass)

    def resample(x):
        return device.resample_to_count(x, 2000)

    assert " fft[" in primitives("cpu", resample, x)
    assert " fft[" not in primitives("tpu", resample, x)


def test_a_length_with_a_large_prime_factor_falls_back_to_the_fft():
    method = fourier.choose("tpu", 5000, 2 * 5003)
    assert not method.by_products
    assert method.reason == "10006 samples have the factor 5003, too large for a small matrix"
    assert fourier.choose("tpu", 5000).by_products
    x = jnp.asarray(noise(5003))
    with use_platform("tpu"):
        found = device.resample_to_count(x, 5000)
    want = reference.resample_to_count(np.asarray(x, float), 5000)
    np.testing.assert_allclose(found, want, atol=2e-5)


def test_every_window_a_user_may_choose_has_small_factors_when_it_is_filtered():
    """The band-pass pads to SciPy's fast lengths, whose prime factors are small."""
    for num_samples in (500, 1001, 2503):
        n = edge.decompose(num_samples, 500.0, 0.67, 40.0).fft_length
        assert fourier.choose("tpu", n).by_products
