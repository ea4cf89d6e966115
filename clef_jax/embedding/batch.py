"""Encodes windows of recordings and averages their features.

Embedding, evaluation, fine-tuning and geometry all take windows from `read`, features from `encode`
or `start`, and a recording's embedding from `MeanFeatures`, so that evaluation measures exactly the
embeddings that users get.

Shapes: C leads that the encoder takes at once, T samples of a signal, W windows, S samples of a
window, D features of all layers.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clef_jax.embedding import window as window_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.window import Windower, WindowQuality

if TYPE_CHECKING:  # a loaded model embeds arrays without importing the file formats
    from clef_jax.formats import Opened

BATCH_WINDOWS = 64
"""Number of windows that each device encodes at a time."""
BATCH_SIZES = (1, 8, 64)
"""Numbers of windows that each device encodes at a time where a user waits for a few of them; there
are few numbers, because each one is compiled."""


class Windows(NamedTuple):
    """Windows of one signal and their quality: the input of an encoder."""

    signal_mv: np.ndarray
    """Signals in mV at the windower's output rate, float32 [W, C, S]; NaN where missing, unless
    resampling has filled the gaps."""
    quality: WindowQuality


def make_windower(
    encoder: Encoder, sample_rate_hz: float, stride_seconds: float | None = None
) -> Windower:
    """Returns the windower that cuts and resamples signals of a rate for an encoder.

    Args:
        sample_rate_hz: sampling rate of the signals.
        stride_seconds: time between the starts of consecutive windows; by default their length.

    Raises:
        UserError: the rate is too low or too high, or the stride does not fit the encoder's window.
    """
    return Windower(
        encoder.recipe,
        sample_rate_hz,
        stride_seconds,
        window_rate_hz=encoder.window_rate_hz(sample_rate_hz),
    )


def cut(
    signal_mv: np.ndarray, windower: Windower, first: np.ndarray, *, unit_known: bool
) -> Windows:
    """Cuts the windows that start at the samples `first` [W] out of a signal [C, T].

    Args:
        signal_mv: signal in mV, or in an unknown unit if `unit_known` is false; NaN where missing.
        windower: windower for the rate of the signal.
    """
    num_samples = signal_mv.shape[-1]
    num_padded = windower.num_padded(num_samples)
    if num_padded:  # by the mirror image until it is resampled, so that the filter sees no step
        signal_mv = np.pad(signal_mv, [(0, 0), (num_padded, 0)], mode="symmetric")
    windows = window_lib.cut(signal_mv, windower.num_samples, first)  # [C, W, S']
    quality = window_lib.worst(
        [
            window_lib.assess(lead, windower.sample_rate_hz, unit_known=unit_known)
            for lead in windows
        ]
    )
    if flags := windower.flags(num_samples):
        quality = dataclasses.replace(quality, flags=flags)
    return Windows(windower.resample(windows.swapaxes(0, 1), num_padded), quality)


def read(
    opened: "Opened",
    leads: Sequence[Sequence[int]],
    windower: Windower,
    first: np.ndarray,
) -> list[Windows]:
    """Reads the windows that start at the samples `first` [W] of a recording.

    Args:
        opened: the recording; a recording shorter than a window is continued by its mirror image.
        leads: for each group of leads that is encoded together, its C rows in the recording.
        windower: windower for the rate of the recording.

    Returns:
        The windows of each group of leads.

    Raises:
        Defect: the samples can no longer be read.
    """
    begin = int(first[0])
    end = min(int(first[-1]) + windower.num_samples, opened.num_samples)
    signal_mv = opened.read(begin, end - begin)
    return [
        cut(signal_mv[list(rows)], windower, first - begin, unit_known=opened.unit_known)
        for rows in leads
    ]


def start(
    encoder: Encoder, signal_mv: np.ndarray, sample_rate_hz: float, batch_size: int
) -> Callable[[], np.ndarray]:
    """Starts to encode up to `batch_size` windows, padded to that number with zeros.

    Args:
        signal_mv: windows in mV, float32 [n, C, S].
        sample_rate_hz: sampling rate of the windows.

    Returns:
        A function that waits for the devices and returns the features, float32 [n, D].
    """
    num_windows = len(signal_mv)
    if num_windows < batch_size:
        padded = np.zeros((batch_size, *signal_mv.shape[1:]), np.float32)
        padded[:num_windows] = signal_mv
        signal_mv = padded
    features: Any = encoder(signal_mv, sample_rate_hz)
    return lambda: np.asarray(features)[:num_windows]


def encode(
    encoder: Encoder,
    signal_mv: np.ndarray,
    sample_rate_hz: float,
    sizes: Sequence[int] = (BATCH_WINDOWS,),
) -> np.ndarray:
    """Encodes windows [W, C, S] in batches, and returns their features, float32 [W, D].

    Args:
        sample_rate_hz: sampling rate of the windows.
        sizes: allowed numbers of windows per device in a batch, ascending; few, because each one is
            compiled. A batch has the smallest size that holds all remaining windows.
    """
    started, num_devices, done = [], encoder.mesh.size, 0
    while done < len(signal_mv):
        remaining = -(-(len(signal_mv) - done) // num_devices)
        size = num_devices * next((n for n in sizes if n >= remaining), sizes[-1])
        started.append(start(encoder, signal_mv[done : done + size], sample_rate_hz, size))
        done += size
    return np.concatenate([features() for features in started])


class MeanFeatures:
    """Averages the features of a lead's windows to its embedding.

    The mean is taken over the usable windows, or over all windows if none is usable. It is summed
    in float64, in the order of the windows.
    """

    def __init__(self):
        self._sum: dict[bool, Any] = {True: 0.0, False: 0.0}
        self._count = {True: 0, False: 0}

    def add(self, features: np.ndarray, usable: bool) -> None:
        """Adds the features [D] of a window."""
        self._sum[usable] = self._sum[usable] + features.astype(np.float64)
        self._count[usable] += 1

    @property
    def usable(self) -> bool:
        """Whether any window is usable."""
        return self._count[True] > 0

    @property
    def num_windows(self) -> int:
        """Number of windows that the mean is taken over."""
        return self._count[self.usable]

    def result(self) -> np.ndarray:
        """Returns the mean, float32 [D]."""
        if self.usable:
            return (self._sum[True] / self._count[True]).astype(np.float32)
        return (self._sum[False] / self._count[False]).astype(np.float32)


def mean(features: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns the embedding, float32 [D]: the mean of features [W, D]; see `MeanFeatures`.

    Args:
        usable: mask of the usable windows, bool [W].
    """
    total = MeanFeatures()
    for row, is_usable in zip(features, usable.tolist(), strict=True):
        total.add(row, is_usable)
    return total.result()
