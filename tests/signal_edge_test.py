import numpy as np
import pytest
from culprits import refuses

from clef_jax.signal import edge, reference


@pytest.mark.parametrize(
    ("num_samples", "sample_rate_hz", "high_hz"),
    [(5000, 500.0, 40.0), (999, 300.0, 40.0), (100, 500.0, 40.0), (34, 125.0, 30.0)],
)
def test_convolution_and_edge_term_are_the_whole_filter(num_samples, sample_rate_hz, high_hz):
    x = np.random.default_rng(0).standard_normal((4, num_samples)).cumsum(axis=1)
    want = reference.bandpass(x, sample_rate_hz, high_hz=high_hz)
    parts = edge.decompose(num_samples, sample_rate_hz, 0.67, high_hz)
    assert parts.left.shape == (num_samples, edge.RANK) == parts.right.T.shape
    spectrum = np.fft.rfft(x, parts.fft_length) * parts.spectrum
    middle = np.fft.irfft(spectrum, parts.fft_length)[:, :num_samples]
    got = middle + (x @ parts.right.T) @ parts.left.T
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * np.abs(x).max())


def test_the_transpose_is_the_transpose():
    sos = reference.sections(500.0, 0.67, 40.0)
    x, y = np.random.default_rng(0).standard_normal((2, 5, 200))
    forward = (edge._filter(sos, x) * y).sum(axis=1)
    backward = (x * edge._filter_transposed(sos, y)).sum(axis=1)
    np.testing.assert_allclose(forward, backward, rtol=1e-10)


def test_a_window_or_band_that_cannot_be_filtered_is_refused():
    with refuses("33", "34", problem="signal_too_short"):
        edge.decompose(33, 500.0, 0.67, 40.0)
    with refuses("0.67-40.0 Hz", "80.0 Hz", problem="band_above_nyquist"):
        edge.decompose(1000, 80.0, 0.67, 40.0)
