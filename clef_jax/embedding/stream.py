"""Recordings to embeddings: read ahead by threads, encoded in full batches, given back in order."""

import collections
import concurrent.futures
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clef_jax.embedding import piece as piece_lib
from clef_jax.embedding.inputs import Tell
from clef_jax.embedding.piece import Passing, Piece, Place
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.embedding.row import Gather, Row
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError
from clef_jax.finding import Defect
from clef_jax.formats import Opened

_WINDOWS_READ = 32
"""Of a recording at a time, so that the length of a recording costs no memory."""
_BATCH_WINDOWS = 64
"""That each device takes at a time."""
_THREADS = 2
_READ_AHEAD = 8
"""Pieces of recordings that wait to be encoded."""


class Stream:
    """Embeds recordings in order; `tell` hears of those that could not be.

    Raises:
        UserError: the model has no such layer, or the stride does not fit its window.
    """

    def __init__(
        self,
        model: Pretrained,
        tell: Tell,
        *,
        layer: str = "last",
        leads: Sequence[str] = (piece_lib.ALL_LEADS,),
        stride_seconds: float | None = None,
        each_window: bool = False,
    ):
        self._model, self._tell = model, tell
        self._part = model.part(layer)
        self._leads, self._stride_seconds = tuple(leads), stride_seconds
        Windower(
            model.recipe, model.recipe.sample_rate_hz, stride_seconds
        )  # refuses a wrong stride
        self._batch_size = _BATCH_WINDOWS * model.embedder.mesh.size
        self._each_window = each_window
        self.num_windows = 0
        """Encoded so far."""

    @property
    def num_features(self) -> int:
        """Of a row."""
        return self._part.stop - self._part.start

    def __call__(self, recordings: Iterator[Opened]) -> Iterator[Row]:
        """Rows of all chosen leads of all recordings, or of all their windows."""
        gather = Gather(each_window=self._each_window)
        for places, features in self._encoded(self._batches(self._pieces(recordings))):
            self.num_windows += len(places)
            yield from gather.add(places, np.asarray(features)[: len(places), self._part])
        yield from gather.rest()

    def _encoded(
        self, batches: Iterator[tuple[list[Place], np.ndarray]]
    ) -> Iterator[tuple[list[Place], Any]]:
        """Batches and their features; the next batch is on the devices before one is given back."""
        waiting = None
        for places, batch in batches:
            started = self._model.embedder.of_mv(batch, self._model.recipe.sample_rate_hz)
            if waiting is not None:
                yield waiting
            waiting = places, started
        if waiting is not None:
            yield waiting

    def _batches(self, pieces: Iterator[Piece]) -> Iterator[tuple[list[Place], np.ndarray]]:
        places, batch = [], self._empty_batch()
        for piece in pieces:
            for place, window in piece_lib.one_by_one(piece):
                batch[len(places)] = window
                places.append(place)
                if len(places) == self._batch_size:
                    yield places, self._shaped(batch)
                    places, batch = [], self._empty_batch()
        if places:
            yield places, self._shaped(batch)

    def _empty_batch(self) -> np.ndarray:
        num_samples = self._model.recipe.num_samples(self._model.recipe.sample_rate_hz)
        return np.zeros((self._batch_size, self._model.in_channels, num_samples), np.float32)

    def _shaped(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, 0] if self._model.in_channels == 1 else batch

    def _pieces(self, recordings: Iterator[Opened]) -> Iterator[Piece]:
        """Pieces in order, some of them read ahead."""
        started: collections.deque[concurrent.futures.Future[Piece | None]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            try:
                for recording in self._understood(recordings):
                    for first in range(0, len(recording.starts), _WINDOWS_READ):
                        started.append(pool.submit(self._read, recording, first))
                        while len(started) > _READ_AHEAD:
                            yield from _there(started.popleft())
                while started:
                    yield from _there(started.popleft())
            finally:
                for one in started:
                    one.cancel()

    def _understood(self, recordings: Iterator[Opened]) -> Iterator[Passing]:
        """Recordings whose leads and rate can be used."""
        for opened in recordings:
            try:
                cutter = Windower(self._model.recipe, opened.sample_rate_hz, self._stride_seconds)
                leads = piece_lib.choose(opened, self._leads, self._model.in_channels, self._tell)
            except Defect as defect:
                self._tell(defect.finding(opened.name))
            except UserError as error:
                self._tell(Defect("wrong_rate", str(error)).finding(opened.name))
            else:
                yield Passing(opened, leads, cutter, cutter.starts(opened.num_samples))

    def _read(self, recording: Passing, first: int) -> Piece | None:
        """A piece; None once its recording could not be read."""
        if recording.failed:
            return None
        try:
            return piece_lib.read(recording, first, _WINDOWS_READ)
        except Defect as defect:
            recording.failed = True
            self._tell(defect.finding(recording.opened.name))
            return None


def _there(future: "concurrent.futures.Future[Piece | None]") -> Iterator[Piece]:
    piece = future.result()
    if piece is not None:
        yield piece
