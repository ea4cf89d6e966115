"""Rows of a table of embeddings, made of encoded windows.

Shapes: D features.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from clef_jax.embedding.piece import Passing, Place


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One embedding and where it comes from."""

    recording: str
    lead: str
    start_seconds: float
    duration_seconds: float
    num_windows: int
    """That it is the mean of."""
    missing_fraction: float
    problems: tuple[str, ...]
    """Codes as in a quality report; empty where nothing is wrong."""
    usable: bool
    embedding: np.ndarray
    """float32 [D]."""


class Gather:
    """Makes rows: of each window, or of the mean of a lead's once all of them are there."""

    def __init__(self, *, each_window: bool):
        self._each_window = each_window
        self._recording: Passing | None = None
        self._means: dict[int, _Mean] = {}

    def add(self, places: Sequence[Place], features: np.ndarray) -> Iterator[Row]:
        """Rows that are finished by windows with `features` [len(places), D]."""
        for place, embedding in zip(places, features, strict=True):
            if self._each_window:
                yield _of_window(place, embedding)
                continue
            if place.recording is not self._recording:
                yield from self.rest()
                self._recording = place.recording
            self._means.setdefault(place.lead, _Mean()).add(place, embedding)

    def rest(self) -> Iterator[Row]:
        """The rows of the recording that has ended; none if it could not be read to its end."""
        recording, means = self._recording, self._means
        self._recording, self._means = None, {}
        if recording is not None and not recording.failed:
            for lead in sorted(means):
                yield means[lead].row(recording, recording.leads[lead].name)


class _Mean:
    """Of the usable windows of one lead, or of all where none is."""

    def __init__(self):
        self._sum = {True: np.zeros(1), False: np.zeros(1)}
        self._count = {True: 0, False: 0}
        self._missing = 0.0
        self._problems: set[str] = set()

    def add(self, place: Place, embedding: np.ndarray) -> None:
        self._sum[place.usable] = self._sum[place.usable] + embedding
        self._count[place.usable] += 1
        self._missing += place.missing_fraction
        self._problems.update(place.problems)

    def row(self, recording: Passing, lead: str) -> Row:
        usable = self._count[True] > 0
        opened = recording.opened
        return Row(
            recording=opened.name,
            lead=lead,
            start_seconds=0.0,
            duration_seconds=opened.num_samples / opened.sample_rate_hz,
            num_windows=self._count[usable],
            missing_fraction=self._missing / sum(self._count.values()),
            problems=tuple(sorted(self._problems)),
            usable=usable,
            embedding=(self._sum[usable] / self._count[usable]).astype(np.float32),
        )


def _of_window(place: Place, embedding: np.ndarray) -> Row:
    recording, opened = place.recording, place.recording.opened
    num_samples = min(recording.cutter.num_samples, opened.num_samples)
    return Row(
        recording=opened.name,
        lead=recording.leads[place.lead].name,
        start_seconds=int(recording.starts[place.window]) / opened.sample_rate_hz,
        duration_seconds=num_samples / opened.sample_rate_hz,
        num_windows=1,
        missing_fraction=place.missing_fraction,
        problems=place.problems,
        usable=place.usable,
        embedding=embedding,
    )
