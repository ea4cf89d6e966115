"""Embeds a stream of recordings: threads read ahead, devices encode full batches."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clef_jax.embedding import batch, lead_selection
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.lead_selection import ReportFinding
from clef_jax.embedding.row import OpenRecording, Row, RowGatherer, WindowIndex
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding, catch_failures
from clef_jax.formats import Opened

_WINDOWS_READ = 32
"""Most windows that are read at a time, so that long recordings need no more memory."""
_SAMPLES_READ = 4 << 20
"""Most samples of all leads that are read at a time, unless a single window has more."""
_THREADS = 2
_READ_AHEAD = 8
"""Number of window batches that are read before they are encoded."""


def raise_on_finding(finding: Finding) -> None:
    """Raises an error for a finding; suits prepared recordings, which should have no findings.

    Raises:
        UserError: always; the message names the recording.
    """
    raise UserError(
        f"Recording {finding.record_id} cannot be embedded. {finding.detail}",
        problem=finding.problem,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Consecutive windows of all selected leads of a recording."""

    recording: OpenRecording
    first: int
    """Number of the first window."""
    leads: tuple[batch.Windows, ...]

    def windows(self) -> Iterator[tuple[WindowIndex, np.ndarray]]:
        """Yields the index and the signal [C, S] of every window, lead by lead."""
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


class _Reading(NamedTuple):
    """A batch of windows that a thread reads."""

    future: "concurrent.futures.Future[_Part | None]"
    completed: OpenRecording | None
    """The recording if these are its last windows, else None."""


class Stream:
    """Embeds recordings in order, with memory that does not depend on their number or length.

    Args:
        encoder: encoder of the windows.
        features: slice of the features to return among those of all layers.
        report_finding: receives findings about recordings, from several threads.
        leads: leads to embed, as `lead_selection.select` takes them.
        stride_seconds: time between the starts of consecutive windows; by default their length.
        each_window: whether to return a row for every window instead of one for their mean.

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
        """Number of windows encoded so far."""

    @property
    def num_features(self) -> int:
        """Number of features of a row."""
        return self._features.stop - self._features.start

    def __call__(self, recordings: Iterator[Opened]) -> Iterator[Row]:
        """Yields a row for each selected lead of each recording, or for each of their windows."""
        gatherer = RowGatherer(each_window=self._each_window)
        for indices, features in self._encoded(self._batches(self._parts(recordings))):
            self.num_windows += len(indices)
            for index, row in zip(indices, features()[:, self._features], strict=True):
                yield from gatherer.add(index, row)
        yield from gatherer.finish()

    def _encoded(
        self, batches: Iterator[tuple[list[WindowIndex], list[np.ndarray]]]
    ) -> Iterator[tuple[list[WindowIndex], Callable[[], np.ndarray]]]:
        """Yields batches and their features, one batch behind.

        The devices encode the next batch while the caller uses the yielded one.
        """
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
        """Yields batches of windows of one sampling rate; the last one may be smaller."""
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
        """Yields the window batches of recordings in order; threads read ahead."""
        reading: collections.deque[_Reading] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            try:
                for recording in self._usable(recordings):
                    count = _windows_read(recording)
                    for first in range(0, len(recording.starts), count):
                        future = pool.submit(self._read, recording, first, count)
                        is_last = first + count >= len(recording.starts)
                        reading.append(_Reading(future, recording if is_last else None))
                        while len(reading) > _READ_AHEAD:
                            yield from _result(reading.popleft())
                while reading:
                    yield from _result(reading.popleft())
            finally:
                for item in reading:
                    item.future.cancel()

    def _usable(self, recordings: Iterator[Opened]) -> Iterator[OpenRecording]:
        """Yields the recordings whose leads and rate the encoder can use; reports the others."""
        for opened in recordings:
            try:
                windower = batch.make_windower(
                    self._encoder, opened.sample_rate_hz, self._stride_seconds
                )
                starts = windower.starts(opened.num_samples)
                leads = lead_selection.select(
                    opened, self._leads, self._encoder.in_channels, self._report_finding
                )
            except Defect as defect:
                self._report_finding(defect.finding(opened.name))
            except UserError as error:
                defect = Defect(error.problem or "wrong_rate", str(error))
                self._report_finding(defect.finding(opened.name))
            else:
                yield OpenRecording(opened, leads, windower, starts)

    def _read(self, recording: OpenRecording, first: int, count: int) -> _Part | None:
        """Reads windows from number `first` on; None if any window could not be read so far."""
        if recording.failed:
            return None
        try:
            with catch_failures(recording.opened.name):
                return _read_part(recording, first, count)
        except Defect as defect:
            recording.failed = True
            self._report_finding(defect.finding(recording.opened.name))
        except UserError as error:
            recording.failed = True
            defect = Defect(error.problem or "unreadable", str(error))
            self._report_finding(defect.finding(recording.opened.name))
        return None


def _windows_read(recording: OpenRecording) -> int:
    """Returns how many windows to read at a time; fewer for high rates and many leads."""
    windower = recording.windower
    samples = max(windower.num_samples, windower.num_resampled) * len(recording.opened.lead_names)
    return max(1, min(_WINDOWS_READ, _SAMPLES_READ // samples))


def _read_part(recording: OpenRecording, first: int, count: int) -> _Part:
    windows = batch.read(
        recording.opened,
        [lead.rows for lead in recording.leads],
        recording.windower,
        recording.starts[first : first + count],
    )
    return _Part(recording, first, tuple(windows))


def _result(item: _Reading) -> Iterator[_Part]:
    part = item.future.result()
    if item.completed is not None:
        item.completed.release()
    if part is not None:
        yield part
