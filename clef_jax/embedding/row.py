"""Gathers encoded windows into the rows of a table of embeddings.

Shapes: W windows, D features.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from clef_jax.embedding.batch import MeanFeatures
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.window import PROBLEMS, Windower
from clef_jax.errors import counted
from clef_jax.finding import Finding
from clef_jax.formats import Opened


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One embedding with its recording, lead, time and quality."""

    recording: str
    """Name of the recording."""
    lead: str
    """Name of the lead, or its number if it has no name."""
    start_seconds: float
    duration_seconds: float
    num_windows: int
    """Number of windows that the embedding is the mean of."""
    missing_fraction: float
    """Fraction of samples that are missing."""
    problems: tuple[str, ...]
    """Problem codes as in a quality report; empty where nothing is wrong."""
    usable: bool
    """Whether the window, or any window of the lead, is usable."""
    embedding: np.ndarray
    """Embedding, float32 [D]."""
    findings: tuple[Finding, ...] = ()
    """One finding for each of the problems."""


@dataclasses.dataclass(eq=False)
class OpenRecording:
    """A recording whose windows are being read."""

    opened: Opened
    leads: tuple[Lead, ...]
    windower: Windower
    starts: np.ndarray
    """First sample of each window, [W]."""
    failed: bool = False
    """Whether any of its windows could not be read."""

    def release(self) -> None:
        """Lets go of the samples, which may be in memory, when all windows have been read."""
        self.opened = dataclasses.replace(self.opened, read=_released)


def _released(start: int, num_samples: int) -> np.ndarray:
    raise AssertionError(f"Samples {start} to {start + num_samples} are read after the last ones.")


class WindowIndex(NamedTuple):
    """Recording, lead, number and quality of an encoded window."""

    recording: OpenRecording
    lead: int
    window: int
    missing_fraction: float
    problems: tuple[str, ...]
    usable: bool


class RowGatherer:
    """Makes a row of every window, or of every lead from the mean of its windows.

    The windows of a recording must be added one after the other.
    """

    def __init__(self, *, each_window: bool):
        self._each_window = each_window
        self._recording: OpenRecording | None = None
        self._leads: dict[int, _LeadRow] = {}

    def add(self, index: WindowIndex, features: np.ndarray) -> Iterator[Row]:
        """Adds the features [D] of a window, and yields the rows that are now complete."""
        if self._each_window:
            yield _window_row(index, features)
            return
        if index.recording is not self._recording:
            yield from self.finish()
            self._recording = index.recording
        self._leads.setdefault(index.lead, _LeadRow()).add(index, features)

    def finish(self) -> Iterator[Row]:
        """Yields the rows of the last recording; none if part of it could not be read."""
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
        self._problems: collections.Counter[str] = collections.Counter()

    def add(self, index: WindowIndex, features: np.ndarray) -> None:
        self._mean.add(features, index.usable)
        self._num_windows += 1
        self._missing += index.missing_fraction
        self._problems.update(index.problems)

    def row(self, recording: OpenRecording, lead: str) -> Row:
        opened = recording.opened
        where = {
            name: f"In {count} of {counted(self._num_windows, 'window')}, lead {lead}"
            if count < self._num_windows
            else f"Lead {lead}"
            for name, count in self._problems.items()
        }
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
            findings=_findings(opened.name, lead, where, usable=self._mean.usable),
        )


def _window_row(index: WindowIndex, features: np.ndarray) -> Row:
    recording, opened = index.recording, index.recording.opened
    num_samples = min(recording.windower.num_samples, opened.num_samples)
    lead = recording.leads[index.lead].name
    start_seconds = int(recording.starts[index.window]) / opened.sample_rate_hz
    where = f"In the window from {start_seconds:g} s, lead {lead}"
    return Row(
        recording=opened.name,
        lead=lead,
        start_seconds=start_seconds,
        duration_seconds=num_samples / opened.sample_rate_hz,
        num_windows=1,
        missing_fraction=index.missing_fraction,
        problems=index.problems,
        usable=index.usable,
        embedding=features,
        findings=_findings(
            opened.name, lead, dict.fromkeys(index.problems, where), usable=index.usable
        ),
    )


def _findings(
    recording: str, lead: str, where: Mapping[str, str], *, usable: bool
) -> tuple[Finding, ...]:
    """Returns the findings about a row, sorted by problem.

    Args:
        where: the window and the lead that have each problem, as the start of a sentence.
    """
    return tuple(
        Finding(
            recording,
            problem,
            lead,
            f"{where[problem]} {PROBLEMS.get(problem, problem)}.",
            "kept" if usable else "lead_unusable",
        )
        for problem in sorted(where)
    )
