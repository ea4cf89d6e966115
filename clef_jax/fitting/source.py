"""Recordings to fit a head to: files that `embed` reads, or arrays in memory.

Shapes: L leads, T samples of a signal.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from clef_jax import formats
from clef_jax.embedding import array, inputs, lead_selection
from clef_jax.embedding.lead_selection import ReportFinding
from clef_jax.errors import UserError, counted
from clef_jax.finding import Defect, catch_failures
from clef_jax.formats import Hints, Opened, Survey

DEFAULT_LEAD = "I"
"""Lead that is used of recordings with several leads."""


class Source(Protocol):
    """Recordings that can be opened several times, always in the same order."""

    def open(self, report_finding: ReportFinding) -> Iterator[Opened]:
        """Yields the recordings, and reports those that cannot be read."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder:
    """Recordings of a folder, or of any input that `embed` takes."""

    path: str
    hints: Hints

    def open(self, report_finding: ReportFinding) -> Iterator[Opened]:
        survey = Survey()
        files = list(inputs.files((self.path,), survey))
        for refused in survey.refused:
            report_finding(refused)
        yield from inputs.recordings(files, self.hints, report_finding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files:
    """Files of one recording each, which are named by their numbers from 0."""

    paths: tuple[pathlib.Path, ...]
    hints: Hints

    def open(self, report_finding: ReportFinding) -> Iterator[Opened]:
        for number, path in enumerate(self.paths):
            try:
                with catch_failures(path.name):
                    opened = list(formats.open(path, self.hints))
            except (Defect, UserError) as error:
                report_finding(_defect(error).finding(str(number)))
                continue
            if len(opened) > 1:
                held = counted(len(opened), "recording")
                detail = f"{path.name} holds {held}; give a file for each."
                report_finding(Defect("several_recordings", detail).finding(str(number)))
                continue
            yield dataclasses.replace(opened[0], name=str(number))


def _defect(error: Defect | UserError) -> Defect:
    if isinstance(error, Defect):
        return error
    return Defect(error.problem or "unreadable", str(error))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """Signals in memory, which are named by their numbers from 0."""

    signals: Sequence[Any]
    """Signals [T] or [L, T], in mV if they are floating-point numbers."""
    sample_rate_hz: Sequence[float]
    """Sampling rate of each signal in Hz."""
    lead_names: tuple[str, ...] | None = None
    """Names of the L leads; by default unknown."""

    def open(self, report_finding: ReportFinding) -> Iterator[Opened]:
        for number, (signal, rate_hz) in enumerate(
            zip(self.signals, self.sample_rate_hz, strict=True)
        ):
            try:
                yield self._opened(number, signal, float(rate_hz))
            except UserError as error:
                report_finding(_defect(error).finding(str(number)))

    def _opened(self, number: int, signal: Any, rate_hz: float) -> Opened:
        rows = array.rows(signal, None)
        if rows.ndim > 2:
            raise UserError(
                f"Recording {number} has the shape {list(rows.shape)}; give [samples] or "
                "[leads, samples] for each recording.",
                problem="wrong_shape",
            )
        signal_mv, unit_known = array.to_mv(np.atleast_2d(rows), None)
        names = self.lead_names or ("",) * len(signal_mv)
        if len(names) != len(signal_mv):
            raise UserError(
                f"Recording {number} has {counted(len(signal_mv), 'lead')}, but "
                f"{counted(len(names), 'name')}.",
                problem="wrong_lead_count",
            )
        return Opened(
            name=str(number),
            lead_names=names,
            sample_rate_hz=rate_hz,
            num_samples=signal_mv.shape[1],
            unit_known=unit_known,
            read=functools.partial(_slice, signal_mv.astype(np.float32)),
        )


def _slice(signal_mv: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    return signal_mv[:, start : start + num_samples]


def with_one_lead(opened: Opened, lead: str | None, report_finding: ReportFinding) -> Opened:
    """Returns a recording with one of its leads.

    Args:
        lead: name of the lead, or its number from 0; by default the only lead, or lead I.

    Raises:
        Defect: the recording lacks the lead.
    """
    if lead is None and len(opened.lead_names) == 1:
        return opened
    chosen = lead_selection.select(opened, (lead or DEFAULT_LEAD,), 1, report_finding)[0]
    row = chosen.rows[0]
    return dataclasses.replace(
        opened, lead_names=(chosen.name,), read=functools.partial(_row, opened.read, row)
    )


def _row(read: Any, row: int, start: int, num_samples: int) -> np.ndarray:
    return read(start, num_samples)[[row]]
