"""Tests that the running median is SciPy's, exactly."""

import warnings

import jax
import numpy as np
import onnx_run
import pytest
import scipy.signal

from clef_jax.convert import onnx_median
from clef_jax.signal.running_median import running_median


def signals(length):
    """Noise, a rounded signal with many equal samples, a partly flat one, and a constant."""
    noise = np.random.default_rng(0).standard_normal((4, length)).astype(np.float32)
    noise[1] = np.round(noise[1])
    noise[2, length // 4 : length // 2] = 0
    noise[3] = -1.5
    return noise


@pytest.mark.parametrize(("length", "taps"), [(5000, 201), (257, 21), (50, 201), (3, 1), (1, 5)])
def test_medians_are_exact(length, taps):
    x = signals(length)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "kernel_size exceeds")
        want = np.stack([scipy.signal.medfilt(row, taps) for row in x])
    np.testing.assert_array_equal(jax.jit(running_median, static_argnums=1)(x, taps), want)
    if pytest.importorskip("onnxruntime") and length > 1:
        (got,) = onnx_run.run(
            lambda builder, name: [onnx_median.add_running_median(builder, name, length, taps)], x
        )
        np.testing.assert_array_equal(got, want)


def test_the_gradient_goes_to_the_sample_that_is_the_median():
    x = signals(64)[:1]
    got = jax.grad(lambda x: running_median(x, 7)[0, 30])(x)
    want = np.zeros_like(x)
    want[0, np.flatnonzero(x[0] == np.sort(x[0, 27:34])[3])] = 1
    np.testing.assert_array_equal(got, want)
