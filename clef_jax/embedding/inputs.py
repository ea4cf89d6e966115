"""Opens the recordings of files, folders and prepared data sets, one after the other.

Recordings that cannot be read are reported to the caller and skipped.
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
from clef_jax.errors import UserError
from clef_jax.finding import Defect, catch_failures, encodable
from clef_jax.formats import Hints, Opened, Survey
from clef_jax.signal import adc

_READ_TOGETHER = 16
"""Number of records of a prepared data set that are read at a time."""


class Input(NamedTuple):
    """A file of recordings, or the metadata file of a prepared data set."""

    path: pathlib.Path
    name: str
    """Path within the folder that the user gave, and for a single file its name; with the given
    path in front where an earlier input has a file of that name."""


def files(inputs: Sequence[str], survey: Survey | None = None) -> Iterator[Input]:
    """Yields the files of the given files, folders, WFDB records and prepared data sets, in order.

    Args:
        survey: counter of skipped files, whose findings get the names that files have here.

    Raises:
        UserError: an input does not exist.
    """
    survey = Survey() if survey is None else survey
    seen: set[str] = set()
    for given in inputs:
        top = pathlib.Path(given).expanduser()
        indices = sorted(top.rglob(index_lib.METADATA_FILE)) if top.is_dir() else []
        num_refused = len(survey.refused)
        for path in indices or formats.find(top, survey):
            name = _name(path, top)
            name = str(path) if name in seen else name
            seen.add(name)
            yield Input(path, name)
        survey.refused[num_refused:] = [
            dataclasses.replace(finding, record_id=_name(pathlib.Path(finding.record_id), top))
            for finding in survey.refused[num_refused:]
        ]


def recordings(
    files: Iterable[Input], hints: Hints, report_finding: ReportFinding
) -> Iterator[Opened]:
    """Yields the recordings of files in order, and reports those that cannot be read.

    Args:
        hints: sampling rate, unit and leads of files that do not state them.
    """
    for path, name in files:
        name = encodable(name)
        is_prepared = path.name == index_lib.METADATA_FILE
        opened = _prepared(path) if is_prepared else _opened(path, name, hints, report_finding)
        try:
            with catch_failures(name):
                yield from opened
        except Defect as defect:
            report_finding(defect.finding(name))
        except UserError as error:  # a package is not installed, or a shard cannot be read
            defect = Defect(error.problem or "unreadable", str(error))
            report_finding(defect.finding(name))


def _name(path: pathlib.Path, given: pathlib.Path) -> str:
    """Returns the path within the given folder; for a single file, its name."""
    inside = path != given and path.is_relative_to(given)
    return str(path.relative_to(given)) if inside else path.name


def _opened(
    path: pathlib.Path, name: str, hints: Hints, report_finding: ReportFinding
) -> Iterator[Opened]:
    folder = name[: -len(encodable(path.name))]
    for opened in formats.open(path, hints):
        recording = folder + encodable(opened.name)
        for note in opened.notes:
            report_finding(note.finding(recording))
        yield dataclasses.replace(opened, name=recording)


def _prepared(metadata_file: pathlib.Path) -> Iterator[Opened]:
    """Yields all recordings of a prepared data set."""
    for split in index_lib.splits(metadata_file.parent):
        index = index_lib.load(metadata_file.parent, split)
        yield from stored(index, np.arange(index.num_records))


def stored(
    index: index_lib.Index, positions: np.ndarray, lead: str | None = None
) -> Iterator[Opened]:
    """Yields recordings of a prepared split, named SPLIT/RECORD.

    Args:
        positions: positions of the recordings in the index, int [N].
        lead: the only lead to read; by default all leads are read.

    Raises:
        UserError: a shard cannot be read, or the data set lacks the lead.
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
    signal = raw.signal_view(record, len(index.lead_names))[rows]
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
