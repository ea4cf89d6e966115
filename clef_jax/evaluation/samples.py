"""Reads the windows of recordings for fine-tuning, and packs them into batches of one size.

Shapes: B windows of a batch, S samples of a window, N recordings.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from clef_jax.embedding import batch as batch_lib, inputs
from clef_jax.embedding.prepared import Embedded
from clef_jax.embedding.trainable import Trainable
from clef_jax.formats import Opened


class Reader(Protocol):
    """Reads windows, as `Samples` does."""

    def windows(self, locations: np.ndarray) -> Sequence[batch_lib.Windows]:
        """Returns the windows of the recordings at locations [N, 2]."""
        ...


class Samples:
    """Reads the windows of a data set's recordings, with `embedding.batch`."""

    def __init__(self, splits: Mapping[str, Embedded], embedder: Trainable):
        self._splits, self._embedder = list(splits.values()), embedder

    def windows(self, locations: np.ndarray) -> list[batch_lib.Windows]:
        """Returns the windows of the recordings at locations [N, 2]."""
        windows: list[Any] = [None] * len(locations)
        for split, embedded in enumerate(self._splits):
            of_split = np.flatnonzero(locations[:, 0] == split)
            positions = locations[of_split, 1].astype(np.int64)
            recordings = inputs.stored(embedded.index, positions, embedded.lead)
            for number, opened in zip(of_split, recordings, strict=True):
                windows[number] = self._read(opened)
        return windows

    def _read(self, opened: Opened) -> batch_lib.Windows:
        windower = batch_lib.make_windower(self._embedder, opened.sample_rate_hz)
        first = windower.starts(opened.num_samples)
        (windows,) = batch_lib.read(opened, [(0,)], windower, first)
        return windows


def random_window(windows: batch_lib.Windows, rng: np.random.Generator) -> np.ndarray:
    """Returns a random usable window [1, S] of a recording, or any window if none is usable."""
    usable = np.flatnonzero(windows.quality.usable)
    choices = usable if len(usable) else np.arange(len(windows.signal_mv))
    return windows.signal_mv[rng.choice(choices)]


def pack(windows: Sequence[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Returns windows [1, S] as a batch of `size`, padded with windows that have the weight 0."""
    signal_mv = np.zeros((size, *windows[0].shape), np.float32)
    signal_mv[: len(windows)] = windows
    return {
        "signal_mv": signal_mv,
        "counts": (np.arange(size) < len(windows)).astype(np.float32),
    }


def batches(
    num_recordings: int, size: int, rng: np.random.Generator | None
) -> Iterator[np.ndarray]:
    """Yields positions of recordings, at most `size` at a time, in random order with an `rng`."""
    positions = np.arange(num_recordings)
    if rng is not None:
        rng.shuffle(positions)
    groups = [positions[at : at + size] for at in range(0, num_recordings, size)]
    order = range(len(groups)) if rng is None else rng.permutation(len(groups))
    return iter([groups[number] for number in order])
