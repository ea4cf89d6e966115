"""Transforms in two small steps are the transforms of NumPy and SciPy."""

import numpy as np
import onnx_run
import pytest
import scipy.signal
from culprits import refuses

from clef_jax.convert import onnx_fourier

pytest.importorskip("onnxruntime")


def noise(num_samples, seed=0):
    return np.random.default_rng(seed).standard_normal((3, num_samples)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_samples", "n"),
    [(5000, 10000), (5000, 5000), (1800, 3600), (77, 225), (100, 200), (7, 15), (41, 101)],
)
def test_a_filter_multiplies_the_spectrum(num_samples, n):
    x = noise(num_samples)
    response = np.random.default_rng(1).random(n // 2 + 1)
    (found,) = onnx_run.run(
        lambda builder, name: [onnx_fourier.add_filter(builder, name, num_samples, response, n)],
        x,
    )
    want = np.fft.irfft(np.fft.rfft(x.astype(float), n) * response, n)[:, :num_samples]
    np.testing.assert_allclose(found, want, atol=3e-6)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *[(2500, 5000), (1280, 5000), (3600, 5000), (10000, 5000), (5130, 5000), (2570, 5000)],
        *[(101, 500), (100, 101), (101, 100), (225, 117), (6, 4), (5, 9)],
    ],
)
def test_resampling_is_the_fourier_method(before, after):
    x = noise(before)
    (found,) = onnx_run.run(
        lambda builder, name: [onnx_fourier.add_resampling(builder, name, before, after)], x
    )
    np.testing.assert_allclose(
        found, scipy.signal.resample(x.astype(float), after, axis=1), atol=4e-6
    )


@pytest.mark.parametrize("n", [1, 7, 100, 5000, 10000, 2570])
def test_factors_multiply_to_the_length(n):
    a, b = onnx_fourier.factors(n)
    assert a * b == n
    assert max(a, b) <= 257


def test_a_length_with_a_large_prime_factor_is_refused():
    with refuses("5003"):
        onnx_fourier.factors(5003)
