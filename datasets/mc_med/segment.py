"""Segments of a visit's lead II, and the windows of ten seconds that are stored of them."""

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
from clef_jax.files import locate
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record

LEAD = "II"
WINDOW_SECONDS = 10
MAX_UNUSABLE = 5
"""Windows without a usable signal after which a visit is given up."""
MAX_ABSENT = 100
"""Segments of a visit that are looked for without being there."""
_LAYOUT = Layout(leads=(LEAD,), sample_rate_hz=None, num_samples=None)
_NUMBER = re.compile(r".*_(\d+)\.hea")


@dataclasses.dataclass(frozen=True)
class _Segment:
    entry: Entry
    width: int
    length: int

    def window(self, place: int) -> Entry:
        """The window that begins after `place` others."""
        return self.entry.window(place * self.width, self.width)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """One window; the folder says that a lone signal is lead II, whatever its header calls it."""
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
    """All segments of a visit, because any may give its windows."""
    return (f"{entry.path.rpartition('_')[0]}_*",)


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """The first ten seconds of each segment, then the next ten of each, until enough are usable.

    A window without a usable signal is given out too, so that the report has its reasons, but does
    not count. What is wrong with segments before the first window costs nothing but is told.
    """
    told: list[Finding] = []
    num_usable = num_unusable = 0
    for window in _candidates(source, entry, told):
        yield from (dataclasses.replace(finding, action="kept") for finding in told)
        told.clear()
        yield window
        usable = _is_usable(source, window)
        num_usable += usable
        num_unusable += not usable
        if num_usable >= max_windows or num_unusable >= MAX_UNUSABLE:
            return
    kept = num_usable + num_unusable > 0
    yield from (dataclasses.replace(f, action="kept") if kept else f for f in told)


def _candidates(source: pathlib.Path, entry: Entry, told: list[Finding]) -> Iterator[Entry]:
    """All windows in the order of preference; adds what is wrong with segments to `told`."""
    good = []
    stem = entry.path.rpartition("_")[0]
    for number in _numbers(source, entry):
        one = dataclasses.replace(entry, record_id=f"{stem}_{number}")
        try:
            segment = _measure(source, one)
        except Defect as defect:
            told.append(defect.finding(one.record_id))
            continue
        good.append(segment)
        yield segment.window(0)
    for place in itertools.count(1):
        good = [segment for segment in good if (place + 1) * segment.width <= segment.length]
        if not good:
            return
        yield from (segment.window(place) for segment in good)


def _numbers(source: pathlib.Path, entry: Entry) -> list[int]:
    """The numbers of the segments that are listed or there.

    Raises:
        Defect: none is there.
    """
    place = locate(source, entry.path).parent
    stem = entry.path.rpartition("/")[2].rpartition("_")[0]
    names = (_NUMBER.fullmatch(path.name) for path in place.glob(f"{stem}_*.hea"))
    there = [int(found[1]) for found in names if found]
    if not there:
        detail = f"There is no segment in the visit's folder {LEAD}."
        raise Defect("missing_file", detail)
    listed = entry.labels.get("num_segments", math.nan)
    last = max(*there, int(listed) if listed > 0 else 0)
    # A wild number must not make us look for a million files.
    return sorted({*there, *range(1, min(last, len(there) + MAX_ABSENT) + 1)})


def _measure(source: pathlib.Path, entry: Entry) -> _Segment:
    """How long a segment is, and its windows.

    Raises:
        Defect: it cannot be read, or is shorter than a window.
    """
    path = locate(source, entry.path)
    header = wfdb_header.read(path)
    rate = header.sample_rate_hz
    width = round(WINDOW_SECONDS * rate) if math.isfinite(rate) else 0
    if width < 1:
        raise Defect("wrong_rate", f"Sampled at {rate:g} Hz.")
    length = wfdb_record.count_samples(path, header)
    if length < width:
        detail = f"{length} samples at {rate:g} Hz are less than {WINDOW_SECONDS} s."
        raise Defect("too_short", detail)
    return _Segment(entry, width, length)


def _is_usable(source: pathlib.Path, window: Entry) -> bool:
    try:
        recording = quality.arrange(read(source, window), _LAYOUT)
    except Defect:
        return False
    return bool(quality.check(recording, window.record_id)[0].any())
