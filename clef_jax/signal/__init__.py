"""Signal processing: float64 NumPy references here, jitted counterparts in `device` and `view`."""

from clef_jax.signal.reference import bandpass, fill_gaps, resample, zscore

__all__ = ["bandpass", "fill_gaps", "resample", "zscore"]
