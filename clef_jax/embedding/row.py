"""Rows of a table of embeddings, made of encoded windows.

Shapes: W windows, D features.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clef_jax.embedding.batch import MeanFeatures
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.window import Windower
from clef_jax.formats import Opened


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One embedding and where it comes from."""

    recording: str
    lead: str
    start_seconds: float
    duration_seconds: float
    num_windows: int
    """Windows that the embedding is the mean of."""
    missing_fraction: float
    problems: tuple[str, ...]
    """Codes as in a quality report; empty where nothing is wrong."""
    usable: bool
    embedding: np.ndarray
    """float32 [D]."""


@dataclasses.dataclass(eq=False)
class OpenRecording:
    """A recording whose windows are being read."""

    opened: Opened
    leads: tuple[Lead, ...]
    windower: Windower
    starts: np.ndarray
    """[W], first sample of each window."""
    failed: bool = False
    """Whether a part of it could not be read."""


class WindowIndex(NamedTuple):
    """Which window of which lead of a recording was encoded, and its quality."""

    recording: OpenRecording
    lead: int
    window: int
    missing_fraction: float
    problems: tuple[str, ...]
    usable: bool


class RowGatherer:
    """Makes rows of windows: one of each window, or one of each lead once all its windows are
    encoded. The windows of a recording must come together."""

    def __init__(self, *, each_window: bool):
        self._each_window = each_window
        self._recording: OpenRecording | None = None
        self._leads: dict[int, _LeadRow] = {}

    def add(self, index: WindowIndex, features: np.ndarray) -> Iterator[Row]:
        """Adds the features [D] of a window, and yields the rows that it completes."""
        if self._each_window:
            yield _window_row(index, features)
            return
        if index.recording is not self._recording:
            yield from self.finish()
            self._recording = index.recording
        self._leads.setdefault(index.lead, _LeadRow()).add(index, features)

    def finish(self) -> Iterator[Row]:
        """Yields the rows of the last recording; none if it could not be read to its end."""
        recording, leads = self._recording, self._leads
        self._recording, self._leads = None, {}
        if recording is not None and not recording.failed:
            for lead in sorted(leads):
                yield leads[lead].row(recording, recording.leads[lead].name)


class _LeadRow:
    """Gathers the windows of one lead."""

    def __init__(self):
        self._mean = MeanFeatures()
        self._num_windows = 0
        self._missing = 0.0
        self._problems: set[str] = set()

    def add(self, index: WindowIndex, features: np.ndarray) -> None:
        self._mean.add(features, index.usable)
        self._num_windows += 1
        self._missing += index.missing_fraction
        self._problems.update(index.problems)

    def row(self, recording: OpenRecording, lead: str) -> Row:
        opened = recording.opened
        return Row(
            recording=opened.name,
            lead=lead,
            start_seconds=0.0,
            duration_seconds=opened.num_samples / opened.sample_rate_hz,
            num_windows=self._mean.num_windows,
            missing_fraction=self._missing / self._num_windows,
            problems=tuple(sorted(self._problems)),
            usable=self._mean.usable,
            embedding=self._mean.result(),
        )


def _window_row(index: WindowIndex, features: np.ndarray) -> Row:
    recording, opened = index.recording, index.recording.opened
    num_samples = min(recording.windower.num_samples, opened.num_samples)
    return Row(
        recording=opened.name,
        lead=recording.leads[index.lead].name,
        start_seconds=int(recording.starts[index.window]) / opened.sample_rate_hz,
        duration_seconds=num_samples / opened.sample_rate_hz,
        num_windows=1,
        missing_fraction=index.missing_fraction,
        problems=index.problems,
        usable=index.usable,
        embedding=features,
    )
