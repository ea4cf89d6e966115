"""Features that need no learning: when the heart beats, and how its signal's power is spread.

Shapes: B windows, T time, D features.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.signal
import scipy.stats
from jax.sharding import Mesh

from clef_jax.baselines import Context
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.signal import reference

BAND_EDGES_HZ = np.geomspace(0.5, 40.0, 25)
_SPECTRUM_SECONDS = 4.0
_QRS_HZ = (8.0, 20.0)
"""Where most of the power of a QRS complex lies (Thakor et al. 1984)."""
_INTEGRATION_SECONDS = 0.1
_REFRACTORY_SECONDS = 0.25
_VERSION = 1
"""Counts changes of any feature."""


@dataclasses.dataclass(frozen=True, eq=False)
class Classical:
    """Rhythm and spectrum of windows, as an `Encoder`."""

    recipe: Recipe
    mesh: Mesh
    name: str = "rhythm and spectrum"

    @property
    def layers(self) -> Mapping[str, slice]:
        return {"features": slice(0, self.num_features)}

    @property
    def num_features(self) -> int:
        return len(BAND_EDGES_HZ) - 1 + _NUM_RHYTHM + _NUM_SHAPE

    @property
    def fingerprint(self) -> str:
        return f"classical {_VERSION} {self.recipe}"

    @property
    def costs(self) -> Mapping[str, float]:
        return {"parameters": 0}

    @property
    def in_channels(self) -> int:
        return 1

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the recording's own rate: nothing is resampled."""
        return sample_rate_hz

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> np.ndarray:
        """Returns the features float32 [B, D] of windows [B, 1, T] in mV, NaN where missing."""
        signal_mv = reference.fill_gaps(signal_mv[:, 0])
        low_hz, high_hz = self.recipe.band_hz or Recipe().band_hz  # pyright: ignore
        high_hz = min(high_hz, 0.45 * sample_rate_hz)
        signal = reference.bandpass(signal_mv, sample_rate_hz, low_hz, high_hz)
        scaled = reference.zscore(signal)
        parts = (
            spectrum(scaled, sample_rate_hz),
            np.array([rhythm(beats(row, sample_rate_hz)) for row in scaled]),
            shape(signal, scaled),
        )
        return np.concatenate(parts, axis=1).astype(np.float32)


def make(context: Context) -> Iterator[Encoder]:
    yield Classical(context.recipe, context.mesh)


def spectrum(signal: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """Log power of signals [B, T] in each band: [B, bands]."""
    length = min(round(_SPECTRUM_SECONDS * sample_rate_hz), signal.shape[1])
    at_hz, power = scipy.signal.welch(signal, sample_rate_hz, nperseg=length, nfft=4 * length)
    band = np.digitize(at_hz, BAND_EDGES_HZ) - 1
    mean = [
        power[:, band == number].mean(axis=1) if (band == number).any() else np.zeros(len(power))
        for number in range(len(BAND_EDGES_HZ) - 1)
    ]
    return np.log(np.stack(mean, axis=1) + 1e-8)


def beats(signal: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """Times of the QRS complexes of a signal [T], in seconds.

    Squared slope in the band of the QRS, averaged over a tenth of a second, then peaks that stand
    out (after Pan and Tompkins 1985, without their search back).
    """
    high_hz = min(_QRS_HZ[1], 0.45 * sample_rate_hz)
    band = scipy.signal.butter(2, (_QRS_HZ[0], high_hz), "band", fs=sample_rate_hz, output="sos")
    slope = np.gradient(scipy.signal.sosfiltfilt(band, signal))
    width = max(1, round(_INTEGRATION_SECONDS * sample_rate_hz))
    energy = np.convolve(slope**2, np.ones(width) / width, mode="same")
    found, _ = scipy.signal.find_peaks(
        energy,
        height=0.25 * np.quantile(energy, 0.98),
        distance=max(1, round(_REFRACTORY_SECONDS * sample_rate_hz)),
    )
    return found / sample_rate_hz


_NUM_RHYTHM = 10


def rhythm(beat_seconds: np.ndarray) -> np.ndarray:
    """What the intervals between beats tell: their middle, spread and order; [10].

    Without two intervals all are 0, which the first, the number of intervals, says.
    """
    interval = np.diff(beat_seconds)
    if len(interval) < 2:
        return np.zeros(_NUM_RHYTHM)
    change = np.diff(interval)
    low, middle, high = np.quantile(interval, [0.1, 0.5, 0.9])
    return np.array(
        [
            np.log1p(len(interval)),
            interval.mean(),
            middle,
            interval.std(),
            interval.std() / interval.mean(),
            np.sqrt((change**2).mean()),
            np.median(np.abs(change)) / middle,
            (np.abs(change) > 0.05).mean(),
            (high - low) / middle,
            (change[1:] * change[:-1] < 0).mean() if len(change) > 1 else 0.0,
        ]
    )


_NUM_SHAPE = 4


def shape(signal_mv: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Size, lopsidedness and peakedness of signals [B, T]: [B, 4]."""
    flat = scaled.std(axis=1) == 0
    safe = np.where(flat[:, None], np.linspace(-1, 1, scaled.shape[1]), scaled)
    columns = (
        np.log(signal_mv.std(axis=1) + 1e-4),
        scipy.stats.skew(safe, axis=1),
        np.log(scipy.stats.kurtosis(safe, axis=1, fisher=False)),
        np.quantile(scaled, 0.99, axis=1) + np.quantile(scaled, 0.01, axis=1),
    )
    return np.stack(columns, axis=1)
