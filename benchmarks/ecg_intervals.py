"""Measures heart rate, QRS duration and QT interval of 12-lead recordings.

A plain method for controls of other results, not for patients: the median beat of all leads
together, thresholds on its slope, and the tangent at the end of the T wave.

Shapes: L leads, T time (samples).
"""

from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.signal

from clef_jax.baselines import classical
from clef_jax.signal import reference

_BEFORE_SECONDS, _AFTER_SECONDS = 0.3, 0.55
"""Part of the recording around the R wave that belongs to a beat."""
_MOST_OF_RR = 0.72
"""Fraction of the interval between two beats that belongs to the first one: the next P wave, and
at high rates the next QRS complex, would be taken for a T wave."""
_BAND_HZ = (0.5, 40.0)
_EDGE = 0.08
"""Slope at the edges of the QRS complex, as a fraction of its largest slope."""
_QUIET_SECONDS = 0.012
"""Time for which the slope stays below the edge."""
_MIN_BEATS = 3


class Intervals(NamedTuple):
    """Measured values; NaN where the recording does not give them."""

    rate_per_minute: float
    qrs_ms: float
    qt_ms: float

    @property
    def qtc_ms(self) -> float:
        """QT interval for a rate of 60 per minute (Fridericia 1920)."""
        return self.qt_ms * (self.rate_per_minute / 60) ** (1 / 3)


UNKNOWN = Intervals(np.nan, np.nan, np.nan)


def measure(signal_mv: np.ndarray, sample_rate_hz: float) -> Intervals:
    """Measures a recording [L, T] in millivolts, with NaN in gaps."""
    signal = reference.fill_gaps(signal_mv)
    signal = reference.bandpass(signal, sample_rate_hz, *_BAND_HZ)
    overall = np.sqrt((signal**2).mean(axis=0))
    if not np.ptp(overall) > 0:
        return UNKNOWN
    beat_seconds = classical.beats(reference.zscore(overall[None])[0], sample_rate_hz)
    if len(beat_seconds) < _MIN_BEATS:
        return UNKNOWN
    rate = 60 / float(np.median(np.diff(beat_seconds)))
    after = min(_AFTER_SECONDS, _MOST_OF_RR * 60 / rate)
    beat = _median_beat(signal, beat_seconds, sample_rate_hz, after)
    if beat is None:
        return Intervals(rate, np.nan, np.nan)
    onset, offset = _qrs(beat, sample_rate_hz)
    end = _t_end(beat, onset, offset, sample_rate_hz)
    ms = 1000 / sample_rate_hz
    return Intervals(rate, (offset - onset) * ms, (end - onset) * ms)


def _median_beat(
    signal: np.ndarray, beat_seconds: np.ndarray, sample_rate_hz: float, after_seconds: float
) -> np.ndarray | None:
    """Returns the median beat of each lead, [L, T]; None with too few whole beats."""
    before, after = (round(x * sample_rate_hz) for x in (_BEFORE_SECONDS, after_seconds))
    centres = np.rint(beat_seconds * sample_rate_hz).astype(int)
    whole = centres[(centres >= before) & (centres + after <= signal.shape[1])]
    if len(whole) < _MIN_BEATS:
        return None
    return np.median([signal[:, c - before : c + after] for c in whole], axis=0)


def _qrs(beat: np.ndarray, sample_rate_hz: float) -> tuple[int, int]:
    """Returns the first and last sample of the QRS complex of a median beat."""
    centre = round(_BEFORE_SECONDS * sample_rate_hz)
    slope = np.sqrt((np.gradient(beat, axis=1) ** 2).mean(axis=0))
    slope = scipy.ndimage.uniform_filter1d(slope, max(1, round(0.008 * sample_rate_hz)))
    near = round(0.08 * sample_rate_hz)
    peak = centre - near + int(slope[centre - near : centre + near].argmax())
    is_steep = slope > _EDGE * slope[peak]
    quiet = max(1, round(_QUIET_SECONDS * sample_rate_hz))
    onset, offset = peak, peak
    while onset > quiet and is_steep[onset - quiet : onset].any():
        onset -= 1
    while offset < len(slope) - quiet - 1 and is_steep[offset + 1 : offset + 1 + quiet].any():
        offset += 1
    return onset, offset


def _t_end(beat: np.ndarray, onset: int, offset: int, sample_rate_hz: float) -> float:
    """Returns the sample where the tangent of the T wave's steepest fall meets the baseline."""
    sos = scipy.signal.butter(2, 15.0, fs=sample_rate_hz, output="sos")
    base = beat[:, max(0, onset - round(0.02 * sample_rate_hz)) : onset].mean(axis=1, keepdims=True)
    smooth = np.asarray(scipy.signal.sosfiltfilt(sos, beat - base, axis=1))
    size = np.sqrt((smooth**2).mean(axis=0))
    start = offset + round(0.06 * sample_rate_hz)
    if start >= len(size) - 2:
        return np.nan
    peak = start + int(size[start:].argmax())
    slope = np.gradient(size)
    if peak >= len(size) - 2:
        return np.nan
    until = min(len(size), peak + round(0.12 * sample_rate_hz))
    steepest = peak + int(slope[peak:until].argmin())
    if slope[steepest] >= 0:
        return np.nan
    lowest = size[steepest:until].min()
    return steepest + (size[steepest] - lowest) / -slope[steepest]
