"""Recordings to embeddings: read ahead by threads, encoded in full batches, returned in order."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clef_jax.embedding import batch, lead_selection
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.lead_selection import ReportFinding
from clef_jax.embedding.row import OpenRecording, Row, RowGatherer, WindowIndex
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding
from clef_jax.formats import Opened

_WINDOWS_READ = 32
"""Windows of a recording that are read at a time, so that its length costs no memory."""
_THREADS = 2
_READ_AHEAD = 8
"""Parts of recordings that wait to be encoded."""


def refuse(finding: Finding) -> None:
    """Raises an error for a recording that was prepared and yet cannot be embedded.

    Raises:
        UserError: always; names the recording.
    """
    raise UserError(
        f"The recording {finding.record_id} cannot be embedded. {finding.detail}",
        problem=finding.problem,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Some windows of all selected leads of a recording."""

    recording: OpenRecording
    first: int
    """Number of the first window."""
    leads: tuple[batch.Windows, ...]

    def windows(self) -> Iterator[tuple[WindowIndex, np.ndarray]]:
        """Yields every window [C, S], lead by lead."""
        for lead, (signal_mv, quality) in enumerate(self.leads):
            missing, usable = quality.missing_fraction.tolist(), quality.usable.tolist()
            for number, problems in enumerate(quality.problems):
                index = WindowIndex(
                    self.recording,
                    lead,
                    self.first + number,
                    missing[number],
                    problems,
                    usable[number],
                )
                yield index, signal_mv[number]


class Stream:
    """Embeds recordings in order, with memory that does not depend on their number or length.

    Args:
        encoder: what turns windows into features.
        features: where the features to return are among those of all layers.
        report_finding: is called with what is wrong with a recording, from several threads.
        leads: leads to embed, as `lead_selection.select` takes them.
        stride_seconds: from one window's start to the next one's; by default end to end.
        each_window: whether every window gives a row, rather than their mean.

    Raises:
        UserError: the stride does not fit the encoder's window.
    """

    def __init__(
        self,
        encoder: Encoder,
        features: slice,
        report_finding: ReportFinding,
        *,
        leads: Sequence[str] = (lead_selection.ALL_LEADS,),
        stride_seconds: float | None = None,
        each_window: bool = False,
    ):
        self._encoder, self._features, self._report_finding = encoder, features, report_finding
        self._leads, self._stride_seconds = tuple(leads), stride_seconds
        batch.make_windower(encoder, encoder.recipe.sample_rate_hz, stride_seconds)
        self._batch_size = batch.BATCH_WINDOWS * encoder.mesh.size
        self._each_window = each_window
        self.num_windows = 0
        """Windows encoded so far."""

    @property
    def num_features(self) -> int:
        """Features of a row."""
        return self._features.stop - self._features.start

    def __call__(self, recordings: Iterator[Opened]) -> Iterator[Row]:
        """Yields the rows of all selected leads of all recordings, or of all their windows."""
        gatherer = RowGatherer(each_window=self._each_window)
        for indices, features in self._encoded(self._batches(self._parts(recordings))):
            self.num_windows += len(indices)
            for index, row in zip(indices, features()[:, self._features], strict=True):
                yield from gatherer.add(index, row)
        yield from gatherer.finish()

    def _encoded(
        self, batches: Iterator[tuple[list[WindowIndex], list[np.ndarray]]]
    ) -> Iterator[tuple[list[WindowIndex], Callable[[], np.ndarray]]]:
        """Yields batches and their features; the next batch is on the devices before a batch is
        yielded."""
        waiting = None
        for indices, windows in batches:
            rate_hz = indices[0].recording.windower.window_rate_hz
            started = batch.start(self._encoder, np.stack(windows), rate_hz, self._batch_size)
            if waiting is not None:
                yield waiting
            waiting = indices, started
        if waiting is not None:
            yield waiting

    def _batches(
        self, parts: Iterator[_Part]
    ) -> Iterator[tuple[list[WindowIndex], list[np.ndarray]]]:
        """Yields full batches of windows of one rate, and what is left of them."""
        indices: list[WindowIndex] = []
        windows: list[np.ndarray] = []
        for part in parts:
            rate_hz = part.recording.windower.window_rate_hz
            if indices and indices[0].recording.windower.window_rate_hz != rate_hz:
                yield indices, windows
                indices, windows = [], []
            for index, window in part.windows():
                indices.append(index)
                windows.append(window)
                if len(indices) == self._batch_size:
                    yield indices, windows
                    indices, windows = [], []
        if indices:
            yield indices, windows

    def _parts(self, recordings: Iterator[Opened]) -> Iterator[_Part]:
        """Yields parts of recordings in order, some of them read ahead."""
        reading: collections.deque[concurrent.futures.Future[_Part | None]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            try:
                for recording in self._usable(recordings):
                    for first in range(0, len(recording.starts), _WINDOWS_READ):
                        reading.append(pool.submit(self._read, recording, first))
                        while len(reading) > _READ_AHEAD:
                            yield from _result(reading.popleft())
                while reading:
                    yield from _result(reading.popleft())
            finally:
                for future in reading:
                    future.cancel()

    def _usable(self, recordings: Iterator[Opened]) -> Iterator[OpenRecording]:
        """Yields the recordings whose leads and rate can be used, and reports the others."""
        for opened in recordings:
            try:
                windower = batch.make_windower(
                    self._encoder, opened.sample_rate_hz, self._stride_seconds
                )
                leads = lead_selection.select(
                    opened, self._leads, self._encoder.in_channels, self._report_finding
                )
            except Defect as defect:
                self._report_finding(defect.finding(opened.name))
            except UserError as error:
                self._report_finding(Defect("wrong_rate", str(error)).finding(opened.name))
            else:
                yield OpenRecording(opened, leads, windower, windower.starts(opened.num_samples))

    def _read(self, recording: OpenRecording, first: int) -> _Part | None:
        """Reads a part; returns None once the recording could not be read."""
        if recording.failed:
            return None
        try:
            return _read_part(recording, first)
        except Defect as defect:
            recording.failed = True
            self._report_finding(defect.finding(recording.opened.name))
            return None


def _read_part(recording: OpenRecording, first: int) -> _Part:
    windows = batch.read(
        recording.opened,
        [lead.rows for lead in recording.leads],
        recording.windower,
        recording.starts[first : first + _WINDOWS_READ],
    )
    return _Part(recording, first, tuple(windows))


def _result(future: "concurrent.futures.Future[_Part | None]") -> Iterator[_Part]:
    part = future.result()
    if part is not None:
        yield part
