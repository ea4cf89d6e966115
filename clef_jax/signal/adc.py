"""Samples as analogue-to-digital converters store them: integers, one of which means "missing"."""

import numpy as np
from numpy.typing import ArrayLike

MISSING_ADC = -32768
"""The sample value that means "not recorded", as in WFDB's 16-bit format."""
RAIL_ADC = 32767
"""Largest magnitude of a sample that was recorded: the rail at which a converter clips."""


def to_mv(
    adc: np.ndarray, gain_per_mv: ArrayLike, baseline: ArrayLike, dtype: type = np.float32
) -> np.ndarray:
    """Converts stored samples to millivolts.

    Args:
        adc: int16 [..., T]; `MISSING_ADC` is a missing sample.
        gain_per_mv: [...] or scalar, ADC units per millivolt.
        baseline: [...] or scalar, the ADC value of 0 mV.

    Returns:
        `dtype` [..., T], mV; NaN where a sample is missing.
    """
    offset = np.asarray(baseline, dtype)[..., None]
    signal_mv = (adc - offset) / np.asarray(gain_per_mv, dtype)[..., None]
    return np.where(adc == MISSING_ADC, dtype(np.nan), signal_mv)
