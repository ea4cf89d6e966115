"""Reference signal processing in float64 NumPy, along the last axis of any leading shape.

Shapes: T time (samples).
"""

import numpy as np

from clef_jax.errors import UserError, counted

FILTER_ORDER = 5
"""Order of the Butterworth prototype; the band-pass has twice as many poles."""

PAD_SAMPLES = 33
"""Samples of odd extension at each end before filtering: 3 times the 11 coefficients."""

STD_FLOOR = 1e-8
"""Constant that is added to the standard deviation, so that a flat signal becomes zeros."""


def sections(sample_rate_hz: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Returns the second-order sections of the band-pass, float64 [5, 6].

    Raises:
        UserError: the band is empty or does not lie between 0 and half the sampling rate.
    """
    if not 0 < low_hz < high_hz:
        raise UserError(
            f"The pass band {low_hz}-{high_hz} Hz is empty; its lower edge must be above 0 Hz and "
            "below its upper edge.",
            problem="empty_band",
        )
    if high_hz >= sample_rate_hz / 2:
        raise UserError(
            f"The pass band {low_hz}-{high_hz} Hz must be below half the sampling rate of "
            f"{sample_rate_hz} Hz; lower its upper edge or resample the signal first.",
            problem="band_above_nyquist",
        )
    import scipy.signal  # takes half a second, which the import of the package should not cost

    # Second-order sections, because polynomial coefficients lose five digits at 500 Hz.
    return np.asarray(
        scipy.signal.butter(
            FILTER_ORDER, [low_hz, high_hz], "bandpass", fs=sample_rate_hz, output="sos"
        )
    )


def check_length(num_samples: int) -> None:
    """Raises UserError if a signal is too short for the odd extension."""
    if num_samples <= PAD_SAMPLES:
        raise UserError(
            f"The signal has {counted(num_samples, 'sample')}; the zero-phase band-pass needs at "
            f"least {PAD_SAMPLES + 1}.",
            problem="signal_too_short",
        )


def bandpass(
    x: np.ndarray, sample_rate_hz: float, low_hz: float = 0.67, high_hz: float = 40.0
) -> np.ndarray:
    """Applies a zero-phase 5th-order Butterworth band-pass, forwards and backwards.

    These are the order and band of CLEF (arXiv 2512.02180).

    Args:
        x: signal [..., T] in any unit; integers are converted to float64.
        sample_rate_hz: sampling rate of `x` in Hz.
        low_hz, high_hz: edges of the pass band in Hz, where both passes attenuate by 6 dB.

    Returns:
        The filtered signal in the unit of `x`, float64 [..., T].

    Raises:
        UserError: the signal is too short or has gaps, or the band does not fit the rate.
    """
    x = np.asarray(x, np.float64)
    sos = sections(sample_rate_hz, low_hz, high_hz)
    check_length(x.shape[-1])
    if not np.isfinite(x).all():
        raise UserError(
            "The signal has missing or infinite samples, which the filter would spread over the "
            "whole recording; fill them first with fill_gaps.",
            problem="missing_samples",
        )
    import scipy.signal

    return scipy.signal.sosfiltfilt(sos, x, axis=-1, padlen=PAD_SAMPLES)


def resampled_length(num_samples: int, from_hz: float, to_hz: float) -> int:
    """Returns the number of samples after resampling, rounded down as by wfdb.

    Raises:
        UserError: a rate is not positive, or no sample would remain.
    """
    if not (from_hz > 0 and to_hz > 0):
        raise UserError(
            f"Sampling rates must be above 0 Hz; got {from_hz} and {to_hz}.", problem="wrong_rate"
        )
    # The small term makes 1280 * 500 / 128 exactly 5000 despite the rounding of the division.
    length = int(num_samples * to_hz / from_hz + 1e-9)
    if length < 1:
        raise UserError(
            f"{counted(num_samples, 'sample')} at {from_hz} Hz would become less than one at "
            f"{to_hz} Hz; use a longer signal or a higher rate.",
            problem="signal_too_short",
        )
    return length


def resample(x: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Resamples a signal from one rate to another by the Fourier method.

    For windows use `resample_to_count`: at a fractional rate, the duration and the rate do not
    determine the number of samples of a window.

    Args:
        x: signal [..., T].
        from_hz: sampling rate of `x` in Hz.
        to_hz: sampling rate of the result in Hz.

    Returns:
        The resampled signal, float64 [..., T * to_hz // from_hz].

    Raises:
        UserError: a rate is not positive, or no sample would remain.
    """
    x = np.asarray(x, np.float64)
    return resample_to_count(x, resampled_length(x.shape[-1], from_hz, to_hz))


def resample_to_count(x: np.ndarray, num_samples: int) -> np.ndarray:
    """Resamples [..., T] to float64 [..., num_samples] by the Fourier method."""
    x = np.asarray(x, np.float64)
    if num_samples == x.shape[-1]:
        return x.copy()
    import scipy.signal

    return np.asarray(scipy.signal.resample(x, num_samples, axis=-1))


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """Replaces NaN by linear interpolation in time.

    At the edges the nearest sample is repeated. A signal without any sample becomes zeros.

    Args:
        x: signal [..., T].

    Returns:
        The filled signal, float64 [..., T].
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
    """Returns (x - mean) / (population standard deviation + 1e-8) over time, float64 [..., T]."""
    x = np.asarray(x, np.float64)
    mean, std = x.mean(axis=-1, keepdims=True), x.std(axis=-1, keepdims=True)
    return (x - mean) / (std + STD_FLOOR)
