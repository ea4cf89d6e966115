"""Finds the first clean windows of a Holter, and reads no more of it than needed."""

import dataclasses
import pathlib
from collections.abc import Iterator

from clef_jax import files, leads
from clef_jax.building.listing import Entry
from clef_jax.data import quality
from clef_jax.data.record import Layout, Recording
from clef_jax.errors import counted
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record
from clef_jax.wfdb.header import Header

SAMPLE_RATE_HZ = 200
NUM_SAMPLES = 10 * SAMPLE_RATE_HZ
SEARCHED_MINUTES = 60
"""Searched length of a Holter. If an hour has no clean window, the electrodes are disconnected, and
the rest is not better."""
_SEARCHED_WINDOWS = SEARCHED_MINUTES * 60 * SAMPLE_RATE_HZ // NUM_SAMPLES
_BLOCK_WINDOWS = 30
"""Number of windows that are read at a time."""
LAYOUT = Layout(
    leads=leads.FRANK,
    sample_rate_hz=float(SAMPLE_RATE_HZ),
    num_samples=None,
    optional_leads=leads.FRANK[1:],
)
"""Layout of the searched part of a Holter, of any number of windows."""


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """Yields the first clean windows of a Holter; if none is clean, the first with a usable lead X.

    Args:
        source: the source folder.
        entry: the Holter.
        max_windows: largest number of windows.

    Raises:
        Defect: the Holter cannot be read, has another rate or is shorter than a window, or none of
            the searched windows is usable.
    """
    path = files.locate(source, entry.path)
    header = wfdb_header.read(path)
    searched = min(_count_windows(path, header), _SEARCHED_WINDOWS)
    num_clean = num_skipped = 0
    fallback: int | None = None
    for start_sample, window in _read_windows(path, header, searched):
        usable, findings = quality.check(window, entry.record_id)
        if all(finding.lead in window.absent_leads for finding in findings):
            yield entry.window(start_sample, NUM_SAMPLES)
            num_clean += 1
            if num_clean == max_windows:
                break
        else:
            num_skipped += 1
            if fallback is None and usable[0]:
                fallback = start_sample
    if num_skipped:
        detail = f"Windows of 10 s that were skipped because a lead is not clean: {num_skipped}."
        yield Finding(entry.record_id, "windows_passed_over", None, detail, "kept")
    if num_clean:
        return
    words = f"None of the first {counted(searched, 'window')} of 10 s is clean"
    if fallback is None:
        raise Defect("no_clean_window", f"{words}, and none has a usable lead {LAYOUT.leads[0]}.")
    detail = f"{words}; the first with a usable lead {LAYOUT.leads[0]} is stored."
    yield Finding(entry.record_id, "no_clean_window", None, detail, "kept")
    yield entry.window(fallback, NUM_SAMPLES)


def _count_windows(path: pathlib.Path, header: Header) -> int:
    """Returns the number of complete windows of a Holter.

    Raises:
        Defect: the Holter cannot be read, has another rate, or is shorter than a window.
    """
    if header.sample_rate_hz != SAMPLE_RATE_HZ:
        detail = f"The rate is {header.sample_rate_hz:g} Hz instead of {SAMPLE_RATE_HZ} Hz."
        raise Defect("wrong_rate", detail)
    length = wfdb_record.count_samples(path, header)
    if length < NUM_SAMPLES:
        detail = (
            f"The Holter is shorter than 10 s: it has {counted(length, 'sample')} at "
            f"{SAMPLE_RATE_HZ} Hz."
        )
        raise Defect("too_short", detail)
    return length // NUM_SAMPLES


def _read_windows(
    path: pathlib.Path, header: Header, num_windows: int
) -> Iterator[tuple[int, Recording]]:
    """Yields first sample and recording of each window, in order, with the leads of the layout."""
    for first in range(0, num_windows, _BLOCK_WINDOWS):
        count = min(_BLOCK_WINDOWS, num_windows - first)
        start_sample = first * NUM_SAMPLES
        block = wfdb_record.read(path, start_sample, count * NUM_SAMPLES, header=header)
        block = quality.arrange(block, LAYOUT)
        for offset in range(0, count * NUM_SAMPLES, NUM_SAMPLES):
            signal = block.signal[:, offset : offset + NUM_SAMPLES]
            # Checksums are those of the complete Holter.
            window = dataclasses.replace(block, signal=signal, bad_checksums=())
            yield start_sample + offset, window
