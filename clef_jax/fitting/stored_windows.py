"""Windows of labelled recordings on disk, which fine-tuning reads again in every epoch.

Shapes: W windows of all recordings, C leads, S samples of a window, N recordings.
"""

import pathlib
from collections.abc import Iterable

import numpy as np

from clef_jax.embedding import batch, lead_selection
from clef_jax.embedding.batch import Windows
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.window import WindowQuality
from clef_jax.formats import Opened

_WINDOWS_READ = 32
"""Most windows that are read at a time, so that long recordings need no more memory."""


class StoredWindows:
    """Windows at the rate of an encoder, read from disk as needed; see `finetune.Reader`.

    Args:
        signal_mv: signals in mV, float32 [W, C, S], NaN where missing; may be mapped to memory.
        quality: fractions that are missing, flat and implausible, [W, 3].
        first: first window of each recording, and the number of windows at the end, int [N + 1].
    """

    def __init__(self, signal_mv: np.ndarray, quality: np.ndarray, first: np.ndarray):
        self._signal_mv, self._quality, self._first = signal_mv, quality, first

    def windows(self, locations: np.ndarray) -> list[Windows]:
        """Returns the windows of recordings.

        Args:
            locations: number of the recording in the second column, [n, 2].
        """
        result = []
        for position in locations[:, 1].astype(np.int64).tolist():
            part = slice(self._first[position], self._first[position + 1])
            quality = WindowQuality(*self._quality[part].T)
            result.append(Windows(np.asarray(self._signal_mv[part]), quality))
        return result


def store(encoder: Encoder, recordings: Iterable[Opened], folder: pathlib.Path) -> StoredWindows:
    """Writes the windows of recordings to a folder, and returns them.

    Args:
        encoder: encoder of the windows.
        recordings: recordings with one lead, or with those that the encoder takes at once.
        folder: existing folder.

    Raises:
        Defect: a recording can no longer be read.
    """
    path, qualities, first = folder / "windows.f32", [], [0]
    shape: tuple[int, ...] = (0, 0)
    with path.open("wb") as file:
        for opened in recordings:
            first.append(first[-1])
            for windows in _read(encoder, opened):
                file.write(np.ascontiguousarray(windows.signal_mv, "<f4").data)
                shape, quality = windows.signal_mv.shape[1:], windows.quality
                fractions = (
                    quality.missing_fraction,
                    quality.flat_fraction,
                    quality.implausible_fraction,
                )
                qualities.append(np.stack(fractions, axis=1))
                first[-1] += len(windows.signal_mv)
    signal_mv = np.memmap(path, "<f4", "r", shape=(first[-1], *shape))
    return StoredWindows(signal_mv, np.concatenate(qualities), np.array(first))


def _read(encoder: Encoder, opened: Opened) -> Iterable[Windows]:
    """Yields the windows of a recording, a bounded number at a time."""
    windower = batch.make_windower(encoder, opened.sample_rate_hz)
    starts = windower.starts(opened.num_samples)
    wanted = (lead_selection.ALL_LEADS,)
    (lead,) = lead_selection.select(opened, wanted, encoder.in_channels, lambda finding: None)
    for begin in range(0, len(starts), _WINDOWS_READ):
        yield from batch.read(opened, [lead.rows], windower, starts[begin : begin + _WINDOWS_READ])
