"""Recordings one after the other, from files, folders and prepared data sets.

What cannot be read is told to the caller and passed over.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clef_jax import formats
from clef_jax.data import index as index_lib, raw
from clef_jax.finding import Defect, Finding
from clef_jax.formats import Hints, Opened, Survey
from clef_jax.signal.adc import MISSING_ADC

_READ_TOGETHER = 16
"""Records of a prepared data set."""

Tell = Callable[[Finding], None]
"""Is given what was found wrong with a recording."""


class Found(NamedTuple):
    """A file, or the index of a prepared data set."""

    path: pathlib.Path
    name: str
    """Where it is in the folder that was given."""


def files(inputs: Sequence[str], survey: Survey | None = None) -> Iterator[Found]:
    """What will be opened of files, folders, WFDB records and prepared data sets, in order.

    Args:
        survey: is told what is passed by.

    Raises:
        UserError: an input does not exist.
    """
    for given in inputs:
        top = pathlib.Path(given).expanduser()
        indices = sorted(top.rglob(index_lib.METADATA_FILE)) if top.is_dir() else []
        for path in indices or formats.find(top, survey):
            yield Found(path, _name(path, top))


def recordings(files: Iterable[Found], hints: Hints, tell: Tell) -> Iterator[Opened]:
    """Every recording of the files, in order."""
    for path, name in files:
        if path.name == index_lib.METADATA_FILE:
            yield from _prepared(path.parent)
        else:
            yield from _opened(path, name, hints, tell)


def _name(path: pathlib.Path, given: pathlib.Path) -> str:
    """Where a file is in the folder that was given; its own name if it was given itself."""
    inside = path != given and path.is_relative_to(given)
    return str(path.relative_to(given)) if inside else path.name


def _opened(path: pathlib.Path, name: str, hints: Hints, tell: Tell) -> Iterator[Opened]:
    folder = name[: -len(path.name)]
    try:
        for one in formats.open(path, hints):
            for note in one.notes:
                tell(note.finding(folder + one.name))
            yield dataclasses.replace(one, name=folder + one.name)
    except Defect as defect:
        tell(defect.finding(name))


def _prepared(version_dir: pathlib.Path) -> Iterator[Opened]:
    amplitude = index_lib.read_metadata(version_dir)["amplitude"]
    for split in index_lib.splits(version_dir):
        index = index_lib.load(version_dir, split)
        reader = raw.Reader(index)
        for start in range(0, index.num_records, _READ_TOGETHER):
            positions = range(start, min(start + _READ_TOGETHER, index.num_records))
            records = reader.records(index.row[list(positions)])
            for position, record in zip(positions, records, strict=True):
                yield _stored(index, position, record, unit_known=amplitude != "arbitrary")


def _stored(index: index_lib.Index, position: int, record: bytes, *, unit_known: bool) -> Opened:
    name = bytes(raw.feature(record, "record_id")).decode()
    signal = raw.signal_of(record, len(index.lead_names))
    gain, baseline = index.gain_per_mv[position], index.baseline[position]
    return Opened(
        name=f"{index.split}/{name}",
        lead_names=index.lead_names,
        sample_rate_hz=float(index.sample_rate_hz[position]),
        num_samples=signal.shape[1],
        unit_known=unit_known,
        read=functools.partial(_millivolts, signal, gain, baseline),
    )


def _millivolts(
    signal: np.ndarray, gain: np.ndarray, baseline: np.ndarray, start: int, num_samples: int
) -> np.ndarray:
    part = signal[:, start : start + num_samples]
    found = (part - baseline[:, None].astype(np.float32)) / gain[:, None]
    found[part == MISSING_ADC] = np.nan
    return found
