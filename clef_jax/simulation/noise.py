"""Samples electrode noise: baseline wander, muscle activity and mains hum.

Noise is sampled per electrode and reaches the leads through `dipole.ELECTRODE_TO_LEAD`, so that
Einthoven's and Goldberger's identities hold for it as for the heart.

Shapes: E electrodes, T time.
"""

import numpy as np

_MAINS_HZ = 60.0
_WANDER_UV = 32.0
"""Typical standard deviation below 0.5 Hz after the ECG machine's baseline filter."""
_MUSCLE_UV = 6.5
_MAINS_UV = 1.5
"""Small, because MIMIC's ECG machines had a 60 Hz notch filter."""
_RECORD_SPREAD = 0.55
"""Standard deviation of the log strength between recordings."""
_ELECTRODE_SPREAD = 0.35
_BURST_FRACTION = 0.3
"""Fraction of recordings with a burst of movement or shivering."""


def sample(
    rng: np.random.Generator, num_electrodes: int, num_samples: int, sample_rate_hz: float
) -> np.ndarray:
    """Samples the noise of each electrode in millivolts, [E, T]."""
    strengths = np.exp(rng.normal(0.0, _RECORD_SPREAD, 3))
    uneven = np.exp(rng.normal(0.0, _ELECTRODE_SPREAD, (num_electrodes, 3)))
    wander_uv, muscle_uv, mains_uv = (
        np.array([_WANDER_UV, _MUSCLE_UV, _MAINS_UV]) * strengths * uneven
    ).T[:, :, None]
    frequency_hz = np.fft.rfftfreq(num_samples, 1.0 / sample_rate_hz)
    shape = (num_electrodes, num_samples)
    white = np.fft.rfft(rng.standard_normal(shape, dtype=np.float32))
    drift = _shaped(white, _drift_gain(frequency_hz), num_samples)
    muscle = _shaped(white, _muscle_gain(frequency_hz), num_samples)
    envelope = _sample_envelope(rng, num_samples)
    hum = _sample_hum(rng, num_electrodes, num_samples, sample_rate_hz)
    noise_uv = wander_uv * drift + muscle_uv * envelope[None, :] * muscle + mains_uv * hum
    return noise_uv / 1000.0


def _drift_gain(frequency_hz: np.ndarray) -> np.ndarray:
    """Returns a 1 / f gain between the machine's high-pass and the slowest heart beats."""
    gain = 1.0 / np.maximum(frequency_hz, 0.1)
    return np.where(frequency_hz > 0.0, gain * np.exp(-((frequency_hz / 0.5) ** 2)), 0.0)


def _muscle_gain(frequency_hz: np.ndarray) -> np.ndarray:
    """Returns the gain of a surface electromyogram: broad, highest near 60 Hz, below 150 Hz."""
    rising = frequency_hz / (frequency_hz + 35.0)
    return rising / np.sqrt(1.0 + (frequency_hz / 110.0) ** 6)


def _shaped(white: np.ndarray, gain: np.ndarray, num_samples: int) -> np.ndarray:
    """Returns noise [E, T] with the spectrum of `gain` and unit expected variance."""
    variance = np.sum(gain**2) * 2.0 / num_samples
    return np.fft.irfft(white * (gain / np.sqrt(variance))[None, :], num_samples)


def _sample_envelope(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    """Samples the strength of the muscle activity over time, [T]."""
    burst, centre, width = rng.random(), rng.random(), rng.uniform(0.04, 0.2)
    if burst >= _BURST_FRACTION:
        return np.ones(num_samples)
    time = np.linspace(0.0, 1.0, num_samples)
    return 1.0 + rng.uniform(0.5, 2.0) * np.exp(-0.5 * ((time - centre) / width) ** 2)


def _sample_hum(
    rng: np.random.Generator, num_electrodes: int, num_samples: int, sample_rate_hz: float
) -> np.ndarray:
    """Samples mains hum of unit amplitude, [E, T]: one frequency with a phase per electrode."""
    mains_hz = _MAINS_HZ + rng.normal(0.0, 0.02)
    phase = rng.uniform(0.0, 2.0 * np.pi) + rng.normal(0.0, 0.8, num_electrodes)
    time_seconds = np.arange(num_samples) / sample_rate_hz
    return np.sin(2.0 * np.pi * mains_hz * time_seconds[None, :] + phase[:, None])
