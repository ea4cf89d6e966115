"""The jitted functions equal the float64 references up to float32 rounding."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax import signal
from clef_jax.signal import device
from clef_jax.signal.adc import MISSING_ADC

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "signal_public.npz")


def ecg_like(num_samples, sample_rate_hz, num_signals=6):
    """Beats of 80 ms with baseline wander, mains and white noise, and an offset, in mV."""
    rng = np.random.default_rng(0)
    time = np.arange(num_samples) / sample_rate_hz
    beats = np.exp(-(((time % 0.8) - 0.4) ** 2) / (2 * 0.02**2))
    wander = rng.uniform(0.1, 0.5, (num_signals, 1)) * np.sin(2 * np.pi * 0.2 * time)
    mains = 0.02 * np.sin(2 * np.pi * 50 * time)
    noise = 0.02 * rng.standard_normal((num_signals, num_samples))
    return beats + wander + mains + noise + rng.uniform(-2, 2, (num_signals, 1))


def adc_of(signal_mv, gain_per_mv, baseline):
    adc = np.round(signal_mv * gain_per_mv[:, None] + baseline[:, None])
    return np.where(np.isnan(signal_mv), MISSING_ADC, adc).astype(np.int16)


@pytest.mark.parametrize("tag", ["none", "middle", "edges", "one_valid", "all", "random"])
def test_stored_samples_become_millivolts_without_gaps(tag):
    gain, baseline = np.array([200.0, 1000.0]), np.array([0, -512])
    stored = adc_of(np.tile(GOLDEN[f"gaps_{tag}/x"], (2, 1)), gain, baseline)
    missing = stored == MISSING_ADC
    millivolts = (stored.astype(float) - baseline[:, None]) / gain[:, None]
    want = signal.fill_gaps(np.where(missing, np.nan, millivolts))
    got = jax.jit(device.from_adc)(*map(jnp.asarray, (stored, gain, baseline)))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("num_samples", "sample_rate_hz"),
    [(5000, 500.0), (1000, 500.0), (2500, 250.0), (1000, 100.0), (3001, 300.0)],
)
def test_bandpass_equals_the_reference(num_samples, sample_rate_hz):
    x = ecg_like(num_samples, sample_rate_hz).astype(np.float32)
    want = signal.bandpass(x, sample_rate_hz)
    bandpass = device.make_bandpass(num_samples, sample_rate_hz)
    got = jax.jit(device.bandpass)(jnp.asarray(x), bandpass)
    assert got.dtype == jnp.float32
    error = np.abs(got - want).max(axis=1) / np.abs(want).max(axis=1)
    assert error.max() < 1e-6


@pytest.mark.parametrize(
    ("tag", "sample_rate_hz"), [("fs500_n5000", 500.0), ("fs250_n2500", 250.0)]
)
def test_bandpass_equals_the_filter_in_sixty_digit_arithmetic(tag, sample_rate_hz):
    x, want = GOLDEN[f"exact_{tag}/x"], GOLDEN[f"exact_{tag}/y"]
    bandpass = device.make_bandpass(len(x), sample_rate_hz)
    got = device.bandpass(jnp.asarray(x[None], jnp.float32), bandpass)[0]
    assert np.abs(got - want).max() < 1e-6 * np.abs(want).max()


def test_a_bandpass_for_another_length_is_refused():
    bandpass = device.make_bandpass(1000, 500.0)
    with refuses("1000", "900", error=ValueError):
        device.bandpass(jnp.zeros((2, 900)), bandpass)


@pytest.mark.parametrize(
    ("num_samples", "from_hz", "to_hz"),
    [(2500, 250, 500), (723, 360, 500), (2501, 250, 500), (5000, 500, 250), (999, 500, 128)],
)
def test_resample_equals_the_reference(num_samples, from_hz, to_hz):
    x = ecg_like(num_samples, from_hz, 2)
    want = signal.resample(x, from_hz, to_hz)
    resample = jax.jit(device.resample_to_count, static_argnums=1)
    got = resample(jnp.asarray(x, jnp.float32), want.shape[-1])
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-6)


@pytest.mark.parametrize("offset_mv", [0.0, 1.23, -80.0])
def test_a_flat_signal_stays_flat_when_it_is_resampled(offset_mv):
    flat = jnp.full((1, 1280), offset_mv, jnp.float32)
    got = jax.jit(device.resample_to_count, static_argnums=1)(flat, 5000)
    assert np.ptp(got) == 0
    assert got[0, 0] == pytest.approx(offset_mv, rel=1e-6)


@pytest.mark.parametrize("offset_mv", [1.0, 1.23, -80.0])
def test_a_flat_signal_is_not_scaled_up_to_noise(offset_mv):
    flat = jnp.full((3, 5000), offset_mv, jnp.float32)
    filtered = device.bandpass(flat, device.make_bandpass(5000, 500.0))
    np.testing.assert_allclose(device.zscore(filtered), 0, atol=1e-5)


def test_zscore_equals_the_reference():
    x = ecg_like(1000, 500.0).astype(np.float32)
    x[0] = 3.0
    np.testing.assert_allclose(device.zscore(jnp.asarray(x)), signal.zscore(x), atol=3e-6)


@pytest.mark.parametrize("num_samples", [(1 << 15) - 1, 1 << 15])
def test_gaps_of_very_long_windows_are_filled(num_samples):
    """The longest window whose indices fit beside a sample in one number, and the next."""
    rng = np.random.default_rng(0)
    stored = rng.integers(-32767, 32768, (2, num_samples)).astype(np.int16)
    stored[:, -1], stored[:, 0] = 32767, -32767
    stored[rng.random(stored.shape) < 0.4] = MISSING_ADC
    gain, baseline = np.array([200.0, 1000.0]), np.array([0, -512])
    millivolts = (stored.astype(float) - baseline[:, None]) / gain[:, None]
    want = signal.fill_gaps(np.where(stored == MISSING_ADC, np.nan, millivolts))
    got = jax.jit(device.from_adc)(*map(jnp.asarray, (stored, gain, baseline)))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


def test_rows_of_several_lengths_are_resampled_each_by_its_own():
    lengths = (600, 1000, 1600)
    rng = np.random.default_rng(0)
    number = np.array([1, 0, 2, 0, 2], np.int32)
    rows = [rng.standard_normal(lengths[n]).astype(np.float32) for n in number]
    padded = np.stack([np.pad(row, (0, 1600 - len(row)), mode="edge") for row in rows])
    resample = jax.jit(device.resample_rows, static_argnums=(2, 3))
    got = np.asarray(resample(padded, number, lengths, 1000))
    for row, result in zip(rows, got, strict=True):
        want = device.resample_to_count(jnp.asarray(row)[None], 1000)[0]
        np.testing.assert_allclose(result, want, atol=1e-6)
    # What a row becomes does not depend on the others, nor on its padding.
    padded[number == 0, 600:] = 7
    alone = np.asarray(resample(padded[[1, 3, 1, 3, 1]], number[[1, 3, 1, 3, 1]], lengths, 1000))
    np.testing.assert_array_equal(alone[:2], got[[1, 3]])
