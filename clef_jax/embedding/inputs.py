"""Recordings one after the other, from files, folders and prepared data sets.

What cannot be read is reported to the caller and skipped.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clef_jax import formats
from clef_jax.data import index as index_lib, raw
from clef_jax.embedding.lead_selection import ReportFinding
from clef_jax.finding import Defect
from clef_jax.formats import Hints, Opened, Survey
from clef_jax.signal import adc

_READ_TOGETHER = 16
"""Records of a prepared data set that are read at a time."""


class Input(NamedTuple):
    """A file, or the index of a prepared data set."""

    path: pathlib.Path
    name: str
    """The path within the folder that the user gave."""


def files(inputs: Sequence[str], survey: Survey | None = None) -> Iterator[Input]:
    """Yields what will be opened of files, folders, WFDB records and prepared data sets, in order.

    Args:
        survey: counts what is skipped.

    Raises:
        UserError: an input does not exist.
    """
    for given in inputs:
        top = pathlib.Path(given).expanduser()
        indices = sorted(top.rglob(index_lib.METADATA_FILE)) if top.is_dir() else []
        for path in indices or formats.find(top, survey):
            yield Input(path, _name(path, top))


def recordings(
    files: Iterable[Input], hints: Hints, report_finding: ReportFinding
) -> Iterator[Opened]:
    """Yields every recording of the files, in order."""
    for path, name in files:
        if path.name == index_lib.METADATA_FILE:
            for split in index_lib.splits(path.parent):
                index = index_lib.load(path.parent, split)
                yield from stored(index, np.arange(index.num_records))
        else:
            yield from _opened(path, name, hints, report_finding)


def _name(path: pathlib.Path, given: pathlib.Path) -> str:
    """Returns the path within the folder that was given, or the name of a file that was given."""
    inside = path != given and path.is_relative_to(given)
    return str(path.relative_to(given)) if inside else path.name


def _opened(
    path: pathlib.Path, name: str, hints: Hints, report_finding: ReportFinding
) -> Iterator[Opened]:
    folder = name[: -len(path.name)]
    try:
        for opened in formats.open(path, hints):
            for note in opened.notes:
                report_finding(note.finding(folder + opened.name))
            yield dataclasses.replace(opened, name=folder + opened.name)
    except Defect as defect:
        report_finding(defect.finding(name))


def stored(
    index: index_lib.Index, positions: np.ndarray, lead: str | None = None
) -> Iterator[Opened]:
    """Yields recordings of a prepared split, named SPLIT/RECORD.

    Args:
        positions: int [N], places in the index.
        lead: the only lead that the recordings shall have; by default all.

    Raises:
        UserError: a shard cannot be read, or the data set has no such lead.
    """
    rows = [index.lead_row(lead)] if lead is not None else list(range(len(index.lead_names)))
    amplitude = index_lib.read_metadata(index.version_dir)["amplitude"]
    reader = raw.Reader(index)
    for start in range(0, len(positions), _READ_TOGETHER):
        group = positions[start : start + _READ_TOGETHER]
        for position, record in zip(group, reader.records(index.row[group]), strict=True):
            yield _stored(index, position, record, rows, unit_known=amplitude != "arbitrary")


def _stored(
    index: index_lib.Index, position: int, record: bytes, rows: list[int], *, unit_known: bool
) -> Opened:
    name = bytes(raw.feature(record, "record_id")).decode()
    signal = raw.signal_of(record, len(index.lead_names))[rows]
    gain_per_mv, baseline = index.gain_per_mv[position, rows], index.baseline[position, rows]
    return Opened(
        name=f"{index.split}/{name}",
        lead_names=tuple(index.lead_names[row] for row in rows),
        sample_rate_hz=float(index.sample_rate_hz[position]),
        num_samples=signal.shape[1],
        unit_known=unit_known,
        read=functools.partial(_millivolts, signal, gain_per_mv, baseline),
    )


def _millivolts(
    signal: np.ndarray,
    gain_per_mv: np.ndarray,
    baseline: np.ndarray,
    start: int,
    num_samples: int,
) -> np.ndarray:
    return adc.to_mv(signal[:, start : start + num_samples], gain_per_mv, baseline)
