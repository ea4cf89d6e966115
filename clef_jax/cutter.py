"""From signals of any rate and length to windows as an encoder takes them.

Shapes: T samples of a signal, W windows, S samples of a window.
"""

import numpy as np

from clef_jax import windows as windows_lib
from clef_jax.embedder import Recipe
from clef_jax.errors import UserError
from clef_jax.signal import reference


class Cutter:
    """From signals at one rate to windows at an encoder's.

    Raises:
        UserError: rate or stride make no sense.
    """

    def __init__(self, recipe: Recipe, sample_rate_hz: float, stride_seconds: float | None = None):
        if not (np.isfinite(sample_rate_hz) and sample_rate_hz > 0):
            raise UserError(f"The sampling rate must be above 0 Hz, not {sample_rate_hz}.")
        if recipe.band_hz is not None and 2 * recipe.band_hz[0] >= sample_rate_hz:
            raise UserError(f"At {sample_rate_hz:g} Hz nothing is left of an ECG.")
        self._recipe, self.sample_rate_hz = recipe, float(sample_rate_hz)
        self.num_samples = recipe.num_samples(sample_rate_hz)
        """Of a window, at the signal's rate."""
        self._stride = self.num_samples
        if stride_seconds is not None:
            if not 0 < stride_seconds <= recipe.window_seconds:
                raise UserError(
                    f"The stride must be above 0 and at most the window's {recipe.window_seconds:g}"
                    f" s, not {stride_seconds:g} s."
                )
            self._stride = max(1, round(stride_seconds * sample_rate_hz))

    def starts(self, num_samples: int) -> np.ndarray:
        """First samples of the windows of a signal, [W]."""
        return windows_lib.starts(num_samples, self.num_samples, self._stride)

    def resample(self, windows: np.ndarray) -> np.ndarray:
        """Windows [..., S] at the encoder's rate, float32; gaps are filled where that changes."""
        wanted = self._recipe.num_samples(self._recipe.sample_rate_hz)
        if wanted == windows.shape[-1]:
            return windows.astype(np.float32)
        filled = reference.fill_gaps(np.where(np.isfinite(windows), windows, np.nan))
        # By the number of samples: a window of a fractional rate has a whole number of them.
        return reference.resample(filled, windows.shape[-1], wanted).astype(np.float32)
