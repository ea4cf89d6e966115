"""Stored samples in ADC units: integers, one of which means "missing"."""

import numpy as np
from numpy.typing import ArrayLike

MISSING_ADC = -32768
"""Value of a missing sample, as in WFDB's 16-bit format."""
RAIL_ADC = 32767
"""Largest magnitude of a recorded sample, at which the converter clips."""


def to_mv(
    adc: np.ndarray, gain_per_mv: ArrayLike, baseline: ArrayLike, dtype: type = np.float32
) -> np.ndarray:
    """Converts stored samples to millivolts.

    Args:
        adc: int16 [..., T]; `MISSING_ADC` is a missing sample.
        gain_per_mv: [...] or scalar, ADC units per millivolt.
        baseline: [...] or scalar, the ADC value of 0 mV.
        dtype: number format of the result; by default float32.

    Returns:
        The signal in mV, `dtype` [..., T]; NaN where a sample is missing.
    """
    offset = np.asarray(baseline, dtype)[..., None]
    signal_mv = (adc - offset) / np.asarray(gain_per_mv, dtype)[..., None]
    return np.where(adc == MISSING_ADC, dtype(np.nan), signal_mv)
