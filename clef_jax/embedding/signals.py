"""Signals in memory: the form in which encoders take them, and their embedded windows.

Shapes: N signals, C leads that the encoder takes at once, T samples of a signal, W windows, D
features of a layer.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clef_jax.embedding import batch
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.window import Windower, WindowQuality

_WINDOWS_TOGETHER = 1024
"""Number of windows that are cut and resampled together."""


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedWindows:
    """Embeddings, start times and quality of a signal's windows."""

    features: np.ndarray
    """Embedding of each window, float32 [W, D]."""
    start_seconds: np.ndarray
    """Start of each window in seconds from the start of the signal, [W]."""
    quality: WindowQuality

    def mean(self) -> np.ndarray:
        """Returns the embedding of the signal, float32 [D]; see `batch.MeanFeatures`."""
        return batch.mean(self.features, self.quality.usable)


class Signals(NamedTuple):
    """Signals that a user gives, in the form that the encoder takes."""

    signal_mv: np.ndarray
    """Signals in mV, NaN where missing, [N, C, T]."""
    leading: tuple[int, ...]
    """Axes of the user's array that are the N signals."""
    unit_known: bool
    lead_names: tuple[str, ...] | None
    """Names of the leads along the last of these axes; None if they are unknown."""


def embed(
    encoder: Encoder, signals: Signals, windower: Windower, part: slice
) -> Iterator[EmbeddedWindows]:
    """Yields the embedded windows of each of the signals, in bounded batches."""
    signals_mv, unit_known = signals.signal_mv, signals.unit_known
    first = windower.starts(signals_mv.shape[-1])
    group_size = max(1, _WINDOWS_TOGETHER // len(first))
    for start in range(0, len(signals_mv), group_size):
        group = [
            batch.cut(signal, windower, first, unit_known=unit_known)
            for signal in signals_mv[start : start + group_size]
        ]
        windows_mv = np.concatenate([windows.signal_mv for windows in group])
        rate_hz = windower.window_rate_hz
        features = batch.encode(encoder, windows_mv, rate_hz, batch.BATCH_SIZES)[:, part]
        by_signal = np.split(features, len(group))
        for windows, rows in zip(group, by_signal, strict=True):
            yield EmbeddedWindows(rows, first / windower.sample_rate_hz, windows.quality)
