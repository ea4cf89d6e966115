"""Baseline of hand-crafted features: heart rhythm, power spectrum and shape of the signal.

Shapes: B windows, T time, D features.
"""

import dataclasses
import functools
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
"""Edges of the 24 frequency bands of the spectrum."""
_SPECTRUM_SECONDS = 4.0
"""Length of a segment for Welch's method."""
_QRS_HZ = (8.0, 20.0)
"""Band with most of the power of a QRS complex (Thakor et al. 1984)."""
_INTEGRATION_SECONDS = 0.1
"""Width of the moving average over the squared slope."""
_REFRACTORY_SECONDS = 0.25
"""Shortest time between two detected beats."""
_VERSION = 1
"""Version of the features, part of the fingerprint; increase it when a feature changes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Classical:
    """Encoder that computes rhythm, spectrum and shape of windows."""

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
        """Returns the recording's own rate, because windows are not resampled."""
        return sample_rate_hz

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> np.ndarray:
        """Returns the features, float32 [B, D], of windows [B, 1, T] in mV with NaN in gaps."""
        signal_mv = reference.fill_gaps(signal_mv[:, 0])
        low_hz, high_hz = self.recipe.band_hz or Recipe().band_hz  # pyright: ignore
        high_hz = min(high_hz, 0.45 * sample_rate_hz)
        signal = reference.bandpass(signal_mv, sample_rate_hz, low_hz, high_hz)
        scaled = reference.zscore(signal)
        groups = (
            spectrum(scaled, sample_rate_hz),
            np.array([_rhythm_of(row, sample_rate_hz) for row in scaled]),
            shape(signal, scaled),
        )
        return np.concatenate(groups, axis=1).astype(np.float32)


def make(context: Context) -> Iterator[Encoder]:
    """Yields the one encoder of this baseline."""
    yield Classical(context.recipe, context.mesh)


def spectrum(signal: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """Returns the log power of signals [B, T] in each band: [B, bands]."""
    length = min(round(_SPECTRUM_SECONDS * sample_rate_hz), signal.shape[1])
    frequency_hz, power = scipy.signal.welch(
        signal, sample_rate_hz, nperseg=length, nfft=4 * length
    )
    band = np.digitize(frequency_hz, BAND_EDGES_HZ) - 1
    mean = [
        power[:, band == number].mean(axis=1) if (band == number).any() else np.zeros(len(power))
        for number in range(len(BAND_EDGES_HZ) - 1)
    ]
    return np.log(np.stack(mean, axis=1) + 1e-8)


def beats(signal: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """Returns the times of the QRS complexes of a signal [T], in seconds.

    The detector follows Pan and Tompkins (1985), without their search back: it finds peaks of the
    squared slope in the band of the QRS, averaged over a tenth of a second.
    """
    slope = np.gradient(scipy.signal.sosfiltfilt(_qrs_band(sample_rate_hz), signal))
    width = max(1, round(_INTEGRATION_SECONDS * sample_rate_hz))
    energy = np.convolve(slope**2, np.ones(width) / width, mode="same")
    peaks, _ = scipy.signal.find_peaks(
        energy,
        height=0.25 * np.quantile(energy, 0.98),
        distance=max(1, round(_REFRACTORY_SECONDS * sample_rate_hz)),
    )
    return peaks / sample_rate_hz


@functools.lru_cache(maxsize=32)
def _qrs_band(sample_rate_hz: float) -> np.ndarray:
    """Returns the filter of the QRS band; its design takes as long as its use on ten seconds."""
    high_hz = min(_QRS_HZ[1], 0.45 * sample_rate_hz)
    band_hz = (_QRS_HZ[0], high_hz)
    return np.asarray(scipy.signal.butter(2, band_hz, "band", fs=sample_rate_hz, output="sos"))


_NUM_RHYTHM = 10


def _rhythm_of(signal: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """Returns the statistics of a signal's rhythm, [10]; 0 for a constant, which fills batches."""
    is_constant = (signal == signal[0]).all()
    return np.zeros(_NUM_RHYTHM) if is_constant else rhythm(beats(signal, sample_rate_hz))


def rhythm(beat_seconds: np.ndarray) -> np.ndarray:
    """Returns statistics of the intervals between beats: number, location, spread, order; [10].

    With fewer than two intervals, all are 0.
    """
    interval = np.diff(beat_seconds)
    if len(interval) < 2:
        return np.zeros(_NUM_RHYTHM)
    change = np.diff(interval)
    low, median, high = np.quantile(interval, [0.1, 0.5, 0.9])
    return np.array(
        [
            np.log1p(len(interval)),
            interval.mean(),
            median,
            interval.std(),
            interval.std() / interval.mean(),
            np.sqrt((change**2).mean()),
            np.median(np.abs(change)) / median,
            (np.abs(change) > 0.05).mean(),
            (high - low) / median,
            (change[1:] * change[:-1] < 0).mean() if len(change) > 1 else 0.0,
        ]
    )


_NUM_SHAPE = 4


def shape(signal_mv: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Returns amplitude, skewness, kurtosis and asymmetry of the extremes of signals: [B, 4].

    Args:
        signal_mv: Filtered signals, [B, T].
        scaled: The same signals, z-scored, [B, T].
    """
    flat = scaled.std(axis=1) == 0
    # Skewness and kurtosis of a constant signal are not defined: replace it by a ramp.
    safe = np.where(flat[:, None], np.linspace(-1, 1, scaled.shape[1]), scaled)
    columns = (
        np.log(signal_mv.std(axis=1) + 1e-4),
        scipy.stats.skew(safe, axis=1),
        np.log(scipy.stats.kurtosis(safe, axis=1, fisher=False)),
        np.quantile(scaled, 0.99, axis=1) + np.quantile(scaled, 0.01, axis=1),
    )
    return np.stack(columns, axis=1)
