"""Finds the first clean windows of a Holter, and reads no more of its day than that needs."""

import dataclasses
import pathlib
from collections.abc import Iterator

from clef_jax import files, leads
from clef_jax.building.listing import Entry
from clef_jax.data import quality
from clef_jax.data.record import Layout, Recording
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record
from clef_jax.wfdb.header import Header

SAMPLE_RATE_HZ = 200
NUM_SAMPLES = 10 * SAMPLE_RATE_HZ
SEARCHED_MINUTES = 60
"""If an hour holds nothing clean, the electrodes are off, and the rest of the day is no better."""
_SEARCHED_WINDOWS = SEARCHED_MINUTES * 60 * SAMPLE_RATE_HZ // NUM_SAMPLES
_BLOCK_WINDOWS = 30
"""Windows read at a time."""
LAYOUT = Layout(
    leads=leads.FRANK,
    sample_rate_hz=float(SAMPLE_RATE_HZ),
    num_samples=None,
    optional_leads=leads.FRANK[1:],
)
"""Of what is searched: any number of windows."""


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """The first clean windows of a Holter; without any, the first whose lead X is usable.

    Raises:
        Defect: the Holter is broken, of another rate or shorter than a window, or none of its
            windows is usable.
    """
    path = files.locate(source, entry.path)
    header = wfdb_header.read(path)
    searched = min(_count_windows(path, header), _SEARCHED_WINDOWS)
    num_clean = num_passed_over = 0
    fallback: int | None = None
    for start_sample, window in _cut(path, header, searched):
        usable, findings = quality.check(window, entry.record_id)
        if all(finding.lead in window.absent_leads for finding in findings):
            yield entry.window(start_sample, NUM_SAMPLES)
            num_clean += 1
            if num_clean == max_windows:
                break
        else:
            num_passed_over += 1
            if fallback is None and usable[0]:
                fallback = start_sample
    if num_passed_over:
        detail = (
            f"Windows of 10 s that were passed over, as not clean in every lead: {num_passed_over}."
        )
        yield Finding(entry.record_id, "windows_passed_over", None, detail, "kept")
    if num_clean:
        return
    words = f"None of the first {searched} windows of 10 s is clean"
    if fallback is None:
        raise Defect("no_clean_window", f"{words}, and in none is lead {LAYOUT.leads[0]} usable.")
    detail = f"{words}; the first whose lead {LAYOUT.leads[0]} is usable was taken."
    yield Finding(entry.record_id, "no_clean_window", None, detail, "kept")
    yield entry.window(fallback, NUM_SAMPLES)


def _count_windows(path: pathlib.Path, header: Header) -> int:
    """How many whole windows a Holter has; raises Defect as `windows` does."""
    if header.sample_rate_hz != SAMPLE_RATE_HZ:
        detail = f"Sampled at {header.sample_rate_hz:g} Hz instead of {SAMPLE_RATE_HZ} Hz."
        raise Defect("wrong_rate", detail)
    length = wfdb_record.count_samples(path, header)
    if length < NUM_SAMPLES:
        detail = f"{length} samples at {SAMPLE_RATE_HZ} Hz are less than 10 s."
        raise Defect("too_short", detail)
    return length // NUM_SAMPLES


def _cut(path: pathlib.Path, header: Header, num_windows: int) -> Iterator[tuple[int, Recording]]:
    """Start and content of each window, in order, in the leads of the layout."""
    for first in range(0, num_windows, _BLOCK_WINDOWS):
        count = min(_BLOCK_WINDOWS, num_windows - first)
        start_sample = first * NUM_SAMPLES
        block = wfdb_record.read(path, start_sample, count * NUM_SAMPLES, header=header)
        block = quality.arrange(block, LAYOUT)
        for offset in range(0, count * NUM_SAMPLES, NUM_SAMPLES):
            signal = block.signal[:, offset : offset + NUM_SAMPLES]
            # A checksum is about the whole day.
            window = dataclasses.replace(block, signal=signal, bad_checksums=())
            yield start_sample + offset, window
