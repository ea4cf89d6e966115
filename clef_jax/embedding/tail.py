"""The end of a signal that grows without limit.

Shapes: C leads, S samples of a window, n samples that are appended.
"""

import numpy as np


class Tail:
    """Holds the end of a signal: one window, and room for the next samples."""

    def __init__(self, num_leads: int, window_samples: int):
        self.room = max(1, window_samples // 4)
        """Most samples that can be appended at a time."""
        self._window_samples = window_samples
        self._samples = np.empty((num_leads, window_samples + self.room))
        self._used = 0
        self.end = 0
        """Number of samples of the signal."""

    def append(self, signal_mv: np.ndarray) -> None:
        """Appends up to `room` samples [C, n]; those before the last window may be forgotten."""
        length = signal_mv.shape[-1]
        if self._used + length > self._samples.shape[-1]:
            kept = self.last(self._window_samples).copy()
            self._used = kept.shape[-1]
            self._samples[:, : self._used] = kept
        self._samples[:, self._used : self._used + length] = signal_mv
        self._used += length
        self.end += length

    def window(self, start: int) -> np.ndarray:
        """Returns the window [C, S] from a sample of the signal on, a view."""
        first = self._used - (self.end - start)
        return self._samples[:, first : first + self._window_samples]

    def last(self, num_samples: int) -> np.ndarray:
        """Returns the last samples [C, up to `num_samples`], a view."""
        return self._samples[:, max(0, self._used - num_samples) : self._used]
