"""Windows of recordings to features: the one way in which an encoder is used.

`embed`, evaluation, fine-tuning and geometry all take windows from `read`, features from `encode`
or `start`, and a recording's embedding from `MeanFeatures`, so that the features that are evaluated
are the features that are shipped.

Shapes: C leads that the encoder takes at once, T samples of a signal, W windows, S samples of a
window, D features of all layers.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clef_jax.embedding import window as window_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.window import Windower, WindowQuality

if TYPE_CHECKING:  # a loaded model reads no files, and needs no formats
    from clef_jax.formats import Opened

BATCH_WINDOWS = 64
"""Windows that each device takes at a time."""


class Windows(NamedTuple):
    """Windows of one signal, as an encoder takes them."""

    signal_mv: np.ndarray
    """float32 [W, C, S], mV at the rate of the windower; NaN where a sample is missing, unless the
    rate was changed, which fills gaps."""
    quality: WindowQuality


def make_windower(
    encoder: Encoder, sample_rate_hz: float, stride_seconds: float | None = None
) -> Windower:
    """Returns what cuts and resamples signals of a rate for an encoder.

    Raises:
        UserError: the rate is too low, or the stride does not fit the encoder's window.
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
        signal_mv: mV, or another unit if `unit_known` is false; NaN where missing.
    """
    windows = window_lib.cut(signal_mv, windower.num_samples, first)  # [C, W, S']
    quality = window_lib.worst(
        [
            window_lib.assess(lead, windower.sample_rate_hz, unit_known=unit_known)
            for lead in windows
        ]
    )
    return Windows(windower.resample(windows.swapaxes(0, 1)), quality)


def read(
    opened: "Opened",
    leads: Sequence[Sequence[int]],
    windower: Windower,
    first: np.ndarray,
) -> list[Windows]:
    """Reads the windows that start at the samples `first` [W] of a recording.

    Args:
        opened: the recording; one shorter than a window is mirrored at its end.
        leads: for each input of the encoder its C rows among the recording's leads.

    Returns:
        The windows of each input of the encoder.

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
    """Starts to encode at most `batch_size` windows, padded to that number.

    Args:
        signal_mv: float32 [n, C, S].
        sample_rate_hz: rate of the windows.

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
    """Encodes windows [W, C, S] in batches: float32 [W, D].

    Args:
        sizes: windows that each device may take at a time, ascending; few, because each is
            compiled. A batch takes the smallest size that holds what is left.
    """
    started, num_devices, done = [], encoder.mesh.size, 0
    while done < len(signal_mv):
        left = -(-(len(signal_mv) - done) // num_devices)
        size = num_devices * next((n for n in sizes if n >= left), sizes[-1])
        started.append(start(encoder, signal_mv[done : done + size], sample_rate_hz, size))
        done += size
    return np.concatenate([features() for features in started])


class MeanFeatures:
    """The embedding of a recording's lead: the mean of its usable windows' features, or of all
    windows' where none is usable. Summed in float64, in the order of the windows."""

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
        """Windows that the mean is taken over."""
        return self._count[self.usable]

    def result(self) -> np.ndarray:
        """Returns the mean, float32 [D]."""
        if self.usable:
            return (self._sum[True] / self._count[True]).astype(np.float32)
        return (self._sum[False] / self._count[False]).astype(np.float32)


def mean(features: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns the embedding float32 [D] of windows with features [W, D], bool `usable` [W]."""
    total = MeanFeatures()
    for row, is_usable in zip(features, usable.tolist(), strict=True):
        total.add(row, is_usable)
    return total.result()
