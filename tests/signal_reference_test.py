import pathlib

import numpy as np
import pytest
from culprits import refuses

from clef_jax import signal
from clef_jax.signal import reference

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "signal_public.npz")


@pytest.mark.parametrize(
    ("tag", "sample_rate_hz"),
    [("fs500_n5000", 500), ("fs500_n1000", 500), ("fs250_n2500", 250), ("fs100_n1000", 100)],
)
def test_bandpass_equals_the_filter_in_sixty_digit_arithmetic(tag, sample_rate_hz):
    filtered = signal.bandpass(GOLDEN[f"exact_{tag}/x"], sample_rate_hz)
    np.testing.assert_allclose(filtered, GOLDEN[f"exact_{tag}/y"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("tag", "sample_rate_hz", "atol"),
    [
        ("fs500_n5000", 500, 2e-2),  # the reference's polynomial form is that inexact at 500 Hz
        ("fs250_n2500", 250, 5e-6),
        ("fs200_n2000", 200, 1e-6),
        ("fs100_n1000", 100, 1e-8),
    ],
)
def test_bandpass_equals_the_reference(tag, sample_rate_hz, atol):
    filtered = signal.bandpass(GOLDEN[f"bandpass_{tag}/x"], sample_rate_hz)
    np.testing.assert_allclose(filtered, GOLDEN[f"bandpass_{tag}/y"], rtol=0, atol=atol)


def test_bandpass_keeps_the_band_and_removes_the_rest():
    time = np.arange(20000) / 500
    middle = slice(8000, 12000)  # the slowest mode of the filter lasts for seconds
    inside = np.sin(2 * np.pi * 10 * time)
    np.testing.assert_allclose(signal.bandpass(inside, 500)[middle], inside[middle], atol=1e-3)
    for frequency_hz in (0.1, 100):
        outside = np.sin(2 * np.pi * frequency_hz * time)
        assert np.abs(signal.bandpass(outside, 500)[middle]).max() < 1e-3
    assert np.abs(signal.bandpass(np.full(5000, 7.0), 500)).max() < 1e-10


def test_integers_are_filtered_as_numbers():
    x = np.random.default_rng(0).integers(-500, 500, (2, 3, 1000)).astype(np.int16)
    filtered = signal.bandpass(x, 500)
    assert filtered.dtype == np.float64
    assert filtered.shape == x.shape
    np.testing.assert_array_equal(filtered[1, 2], signal.bandpass(x[1, 2].astype(float), 500))


def test_what_cannot_be_filtered_is_refused():
    with refuses("33", "34", problem="signal_too_short"):
        signal.bandpass(np.zeros(33), 500)
    assert signal.bandpass(np.zeros(34), 500).shape == (34,)
    with refuses(problem="missing_samples"):
        signal.bandpass(np.array([0.0] * 99 + [np.nan]), 500)
    with refuses("80 Hz", problem="band_above_nyquist"):
        signal.bandpass(np.zeros(100), 80)
    with refuses("40-1 Hz", problem="empty_band"):
        signal.bandpass(np.zeros(100), 500, 40, 1)


@pytest.mark.parametrize(
    ("tag", "from_hz", "to_hz"),
    [
        ("250_2500", 250, 500),
        ("200_2000", 200, 500),
        ("100_1000", 100, 500),
        ("500_1000", 500, 500),
        ("360_723", 360, 500),
        ("250_2501", 250, 500),
    ],
)
def test_resample_equals_the_reference(tag, from_hz, to_hz):
    resampled = signal.resample(GOLDEN[f"resample_{tag}/x"], from_hz, to_hz)
    np.testing.assert_allclose(resampled, GOLDEN[f"resample_{tag}/y"], rtol=0, atol=1e-9)


def test_resample_works_along_the_last_axis_and_counts_whole_samples():
    x = np.random.default_rng(0).standard_normal((2, 3, 128 * 10))
    resampled = signal.resample(x, 128, 500)
    assert resampled.shape == (2, 3, 5000)
    np.testing.assert_allclose(resampled[1, 2], signal.resample(x[1, 2], 128, 500), atol=1e-12)
    assert reference.resampled_length(723, 360, 500) == 1004
    with refuses("0", "500", problem="wrong_rate"):
        signal.resample(x, 0, 500)
    with refuses("3", "500 Hz", "1 Hz", problem="signal_too_short"):
        signal.resample(x[..., :3], 500, 1)


@pytest.mark.parametrize("tag", ["none", "middle", "edges", "one_valid", "all", "random"])
def test_gaps_are_filled_as_in_the_reference(tag):
    filled = signal.fill_gaps(GOLDEN[f"gaps_{tag}/x"])
    np.testing.assert_allclose(filled, GOLDEN[f"gaps_{tag}/y"], rtol=0, atol=1e-12)


def test_filling_gaps_leaves_the_input_alone_and_works_on_any_shape():
    x = np.random.default_rng(0).standard_normal((2, 3, 50))
    x[:, 1, 10:20] = np.nan
    before = x.copy()
    filled = signal.fill_gaps(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(filled[1, 1], signal.fill_gaps(x[1, 1]))
    assert signal.fill_gaps([1, 2, 3]).dtype == np.float64


def test_zscore_equals_the_reference():
    np.testing.assert_allclose(
        signal.zscore(GOLDEN["zscore/x"]), GOLDEN["zscore/Normalize_1d"], atol=1e-12
    )
    np.testing.assert_allclose(
        signal.zscore(GOLDEN["zscore/x2"]), GOLDEN["zscore/z_score_rows"], atol=1e-7
    )
    np.testing.assert_array_equal(signal.zscore(np.full(50, 3.0)), np.zeros(50))
