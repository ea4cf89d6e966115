"""Reference signal processing in float64 NumPy, along the last axis of any leading shape.

Shapes: T time (samples).
"""

import numpy as np
import scipy.signal

from clef_jax.errors import UserError

FILTER_ORDER = 5
"""Order of the Butterworth prototype; the band-pass has twice as many poles."""

PAD_SAMPLES = 33
"""Odd extension at either end before filtering: three times the filter's 11 coefficients."""

STD_FLOOR = 1e-8
"""Added to the standard deviation, so that a flat signal becomes zeros."""


def sections(sample_rate_hz: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Second-order sections [5, 6] of the band-pass.

    Raises:
        UserError: the band is empty or does not lie between 0 and half the sampling rate.
    """
    if not 0 < low_hz < high_hz:
        raise UserError(
            f"The pass band {low_hz}-{high_hz} Hz is empty; its lower edge must be above 0 and "
            "below the upper one.",
            problem="empty_band",
        )
    if high_hz >= sample_rate_hz / 2:
        raise UserError(
            f"The pass band {low_hz}-{high_hz} Hz reaches half the sampling rate of "
            f"{sample_rate_hz} Hz; lower its upper edge or resample the signal first.",
            problem="band_above_nyquist",
        )
    # As second-order sections: the polynomial form loses five digits at 500 Hz.
    return np.asarray(
        scipy.signal.butter(
            FILTER_ORDER, [low_hz, high_hz], "bandpass", fs=sample_rate_hz, output="sos"
        )
    )


def check_length(num_samples: int) -> None:
    """Raises a ValueError when a signal is too short for the odd extension."""
    if num_samples <= PAD_SAMPLES:
        raise UserError(
            f"The signal has {num_samples} samples; the zero-phase band-pass needs at least "
            f"{PAD_SAMPLES + 1}.",
            problem="signal_too_short",
        )


def bandpass(
    x: np.ndarray, sample_rate_hz: float, low_hz: float = 0.67, high_hz: float = 40.0
) -> np.ndarray:
    """Zero-phase 5th-order Butterworth band-pass, forwards and backwards (CLEF, arXiv 2512.02180).

    Args:
        x: [..., T], any unit; integers are converted first.
        sample_rate_hz: of `x`.
        low_hz, high_hz: edges of the pass band, 6 dB down after both passes.

    Returns:
        float64 [..., T], in the unit of `x`.

    Raises:
        UserError: the signal is too short or has gaps, or the band does not fit the rate.
    """
    x = np.asarray(x, np.float64)
    sos = sections(sample_rate_hz, low_hz, high_hz)
    check_length(x.shape[-1])
    if not np.isfinite(x).all():
        raise UserError(
            "The signal has missing or infinite samples, which a recursive filter would spread "
            "over the whole recording; fill them first with fill_gaps.",
            problem="missing_samples",
        )
    return scipy.signal.sosfiltfilt(sos, x, axis=-1, padlen=PAD_SAMPLES)


def resampled_length(num_samples: int, from_hz: float, to_hz: float) -> int:
    """Samples that remain of `num_samples` at another rate: the whole ones, as wfdb counts them.

    Raises:
        UserError: a rate is not positive, or nothing would remain.
    """
    if not (from_hz > 0 and to_hz > 0):
        raise UserError(
            f"Sampling rates must be above 0 Hz; got {from_hz} and {to_hz}.", problem="wrong_rate"
        )
    # The small term keeps 1280 * 500 / 128 at 5000 where division falls just short of it.
    length = int(num_samples * to_hz / from_hz + 1e-9)
    if length < 1:
        raise UserError(
            f"{num_samples} samples at {from_hz} Hz leave none at {to_hz} Hz.",
            problem="signal_too_short",
        )
    return length


def resample(x: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Resamples by the Fourier method: float64 [..., T] to [..., T * to_hz // from_hz].

    Windows are resampled by `resample_to_count`: at a fractional rate a window has a whole number
    of samples, which its rate alone does not give back.

    Raises:
        UserError: a rate is not positive, or nothing would remain.
    """
    x = np.asarray(x, np.float64)
    return resample_to_count(x, resampled_length(x.shape[-1], from_hz, to_hz))


def resample_to_count(x: np.ndarray, num_samples: int) -> np.ndarray:
    """Resamples by the Fourier method: float64 [..., T] to [..., num_samples]."""
    x = np.asarray(x, np.float64)
    if num_samples == x.shape[-1]:
        return x.copy()
    return np.asarray(scipy.signal.resample(x, num_samples, axis=-1))


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """Fills NaN linearly in time, holds the edges, and makes a wholly missing signal zeros.

    Maps [..., T] to float64 [..., T].
    """
    x = np.array(x, np.float64)
    rows = x.reshape(-1, x.shape[-1])
    time = np.arange(x.shape[-1])
    for row in rows:
        missing = np.isnan(row)
        if missing.all():
            row[:] = 0
        elif missing.any():
            row[missing] = np.interp(time[missing], time[~missing], row[~missing])
    return rows.reshape(x.shape)


def zscore(x: np.ndarray) -> np.ndarray:
    """(x - mean) / (population standard deviation + 1e-8) over time: float64 [..., T]."""
    x = np.asarray(x, np.float64)
    mean, std = x.mean(axis=-1, keepdims=True), x.std(axis=-1, keepdims=True)
    return (x - mean) / (std + STD_FLOOR)
