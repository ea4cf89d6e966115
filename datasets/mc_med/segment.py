"""Finds the segments of a visit's lead II, and the windows of ten seconds to store."""

import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Iterable, Iterator

from clef_jax import leads
from clef_jax.building.listing import Entry
from clef_jax.data import quality
from clef_jax.data.record import Layout, Recording
from clef_jax.errors import counted
from clef_jax.files import locate
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record

LEAD = "II"
WINDOW_SECONDS = 10
MAX_UNUSABLE = 5
"""Unusable windows after which a visit is skipped."""
MAX_ABSENT = 100
"""Largest number of listed segments without a file that are reported for a visit."""
_LAYOUT = Layout(leads=(LEAD,), sample_rate_hz=None, num_samples=None)
_NUMBER = re.compile(r".*_(\d+)\.hea")


@dataclasses.dataclass(frozen=True)
class _Segment:
    entry: Entry
    width: int
    length: int

    def window(self, number: int) -> Entry:
        """Returns the window with a number, counted from 0."""
        return self.entry.window(number * self.width, self.width)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one window. A single signal is lead II by its folder, whatever its header's name."""
    path = locate(source, entry.path)
    recording = wfdb_record.read(path, entry.start_sample, entry.num_samples)
    if len(recording.lead_names) > 1 or any(map(_is_lead, recording.lead_names)):
        return recording
    bad = (LEAD,) if recording.bad_checksums else ()
    return dataclasses.replace(recording, lead_names=(LEAD,), bad_checksums=bad)


def _is_lead(name: str) -> bool:
    try:
        leads.canonical(name)
    except ValueError:
        return False
    return True


def files(entry: Entry) -> Iterable[str]:
    """Returns a pattern of all segments of a visit, because windows may come from any of them."""
    return (f"{entry.path.rpartition('_')[0]}_*",)


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """Yields the first ten seconds of each segment, then the next ten, until enough are usable.

    Unusable windows are yielded too, so that the build reports the reasons, but are not counted.
    Findings about segments have the action `kept` if the visit has any window.

    Args:
        source: the source folder.
        entry: the visit's first segment.
        max_windows: number of usable windows to yield.

    Raises:
        Defect: no segment exists.
    """
    findings: list[Finding] = []
    num_usable = num_unusable = 0
    for window in _candidates(source, entry, findings):
        yield from (dataclasses.replace(finding, action="kept") for finding in findings)
        findings.clear()
        yield window
        usable = _is_usable(source, window)
        num_usable += usable
        num_unusable += not usable
        if num_usable >= max_windows or num_unusable >= MAX_UNUSABLE:
            return
    kept = num_usable + num_unusable > 0
    yield from (dataclasses.replace(f, action="kept") if kept else f for f in findings)


def _candidates(source: pathlib.Path, entry: Entry, findings: list[Finding]) -> Iterator[Entry]:
    """Yields all windows in the order of preference, and adds findings about segments."""
    segments = []
    stem = entry.path.rpartition("_")[0]
    for number in _numbers(source, entry):
        segment_entry = dataclasses.replace(entry, record_id=f"{stem}_{number}")
        try:
            segment = _measure(source, segment_entry)
        except Defect as defect:
            findings.append(defect.finding(segment_entry.record_id))
            continue
        segments.append(segment)
        yield segment.window(0)
    for number in itertools.count(1):
        segments = [s for s in segments if (number + 1) * s.width <= s.length]
        if not segments:
            return
        yield from (segment.window(number) for segment in segments)


def _numbers(source: pathlib.Path, entry: Entry) -> list[int]:
    """Returns the numbers of the segments that exist or are listed.

    Raises:
        Defect: no segment exists.
    """
    folder = locate(source, entry.path).parent
    stem = entry.path.rpartition("/")[2].rpartition("_")[0]
    matches = (_NUMBER.fullmatch(path.name) for path in folder.glob(f"{stem}_*.hea"))
    present = [int(match[1]) for match in matches if match]
    if not present:
        raise Defect("missing_file", f"The visit's folder {LEAD} has no segment.")
    listed = entry.labels.get("num_segments", math.nan)
    last = max(*present, int(listed) if listed > 0 else 0)
    # The limit keeps a wrong number in the table from reporting a million missing files.
    return sorted({*present, *range(1, min(last, len(present) + MAX_ABSENT) + 1)})


def _measure(source: pathlib.Path, entry: Entry) -> _Segment:
    """Returns a segment with its length and the width of a window, in samples.

    Raises:
        Defect: the segment cannot be read, or is shorter than a window.
    """
    path = locate(source, entry.path)
    header = wfdb_header.read(path)
    rate = header.sample_rate_hz
    width = round(WINDOW_SECONDS * rate) if math.isfinite(rate) else 0
    if width < 1:
        raise Defect("wrong_rate", f"The header states an invalid sampling rate: {rate:g} Hz.")
    length = wfdb_record.count_samples(path, header)
    if length < width:
        size = f"{counted(length, 'sample')} at {rate:g} Hz"
        detail = f"The segment is shorter than {WINDOW_SECONDS} s: it has {size}."
        raise Defect("too_short", detail)
    return _Segment(entry, width, length)


def _is_usable(source: pathlib.Path, window: Entry) -> bool:
    try:
        recording = quality.arrange(read(source, window), _LAYOUT)
    except Defect:
        return False
    return bool(quality.check(recording, window.record_id)[0].any())
