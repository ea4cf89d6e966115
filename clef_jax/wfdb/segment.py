"""Reads the headers of WFDB records that consist of several records, their segments.

Format: physionet.org/physiotools/wag, header(5), "multi-segment records".
"""

import dataclasses
import os
import pathlib
import re

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record
from clef_jax.wfdb.header import Header

_MAX_HEADER_BYTES = 1 << 20
_SEGMENT_LINE = re.compile(r"(\S+)(?:\s+(\d{1,15})(?!\S).*)?")
_GAP = "~"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a record that has samples, a record of its own."""

    path: pathlib.Path
    """Path of the segment, without extension."""
    header: Header
    start_frame: int
    """First frame of the segment in the record."""
    num_frames: int
    """Number of frames that are read from the segment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A record of one or several segments."""

    header: Header
    """Signals of the layout segment or else of the first segment; rate and length of the record."""
    segments: tuple[Segment, ...]
    """The segments with samples, in the order of time."""
    is_segmented: bool = False
    """Whether the record's header lists segments."""
    is_variable: bool = False
    """Whether a layout segment names the signals, of which each segment has some."""
    defects: tuple[Defect, ...] = ()
    """Defects of segments that cannot be read; their samples are missing."""


def read_names(file: pathlib.Path) -> tuple[str, ...]:
    """Returns the names of the segments that a header lists, `~` for a gap; none for a record of
    one segment.

    Args:
        file: the header file.

    Raises:
        Defect: the header cannot be read or is malformed, or a segment is in another folder.
    """
    return tuple(name for name, _ in _read_list(file)[1])


def _read_list(file: pathlib.Path) -> tuple[re.Match[str] | None, list[tuple[str, int | None]]]:
    """Returns the fields of a header's first line, and names and lengths of its segments."""
    lines, _ = wfdb_header.read_lines(file, _MAX_HEADER_BYTES)
    record = wfdb_header.match_record_line(lines)
    if record is None or not record["segments"]:
        return record, []
    count = int(record["segments"][1:])
    matches = [_SEGMENT_LINE.fullmatch(line) for line in lines[1 : 1 + count]]
    listed: list[tuple[str, int | None]] = [
        (match[1], int(match[2]) if match[2] else None) for match in matches if match
    ]
    if len(listed) < count:
        detail = (
            f"The header {file.name} states {counted(count, 'segment')}, but lists {len(listed)}."
        )
        raise Defect("unreadable", detail)
    for name, _ in listed:
        if os.path.basename(name) != name or name in (".", "..") or "\0" in name:
            detail = f"The header {file.name} names the segment {name!r} in another folder."
            raise Defect("path_outside_source", detail)
    return record, listed


def read(path: pathlib.Path) -> Record:
    """Returns a record of any number of segments. One of several that cannot be read is a gap.

    Args:
        path: path of the record, without extension.

    Raises:
        Defect: the header is malformed, or no segment can be read.
    """
    file = wfdb_header.find(path.with_name(f"{path.name}.hea"))
    record, listed = _read_list(file)
    if record is None or not listed:
        header = wfdb_header.read(path)
        count = wfdb_record.count_frames(path, header)
        header = dataclasses.replace(header, num_frames=count)
        only = Segment(path=path, header=header, start_frame=0, num_frames=count)
        return Record(header=header, segments=(only,))
    return _assemble(path, file, record, listed)


def _assemble(
    path: pathlib.Path,
    file: pathlib.Path,
    record: re.Match[str],
    listed: list[tuple[str, int | None]],
) -> Record:
    """Returns a record from the first line of its header and from the segments that it lists."""
    rate, length = wfdb_header.frame_rate_hz(record, file.name), int(record["frames"] or 0)
    if not length or any(frames is None for _, frames in listed):
        detail = f"The header {file.name} does not state the length of the record or of a segment."
        raise Defect("unreadable", detail)
    is_variable = listed[0][0] != _GAP and listed[0][1] == 0
    layout = wfdb_header.read(path.with_name(listed[0][0])) if is_variable else None
    segments, defects, start = [], {}, 0
    for name, frames in listed[1:] if is_variable else listed:
        if name != _GAP and frames and name not in defects:
            segment = path.with_name(name)
            try:
                header = _open(segment, rate)
            except Defect as defect:
                detail = (
                    f"{defect.detail} The segment {name}, {counted(frames, 'sample')}, is a gap."
                )
                defects[name] = Defect(defect.problem, detail)
            else:
                present = min(frames, header.num_frames or 0)
                segments.append(
                    Segment(path=segment, header=header, start_frame=start, num_frames=present)
                )
                if header.num_frames != frames:
                    held = counted(header.num_frames or 0, "sample")
                    detail = f"The segment {name} has {held}, but {file.name} states {frames:,}."
                    defects[f"{name} {frames}"] = Defect("header_mismatch", detail)
        start += frames or 0
    if not segments and defects:
        raise next(iter(defects.values()))
    if not segments:
        raise Defect("empty", f"The record {path.name} has no segment with samples.")
    if start != length:
        detail = (
            f"The header {file.name} states {counted(length, 'sample')}, but its segments have "
            f"{start:,}."
        )
        defects[_GAP] = Defect("header_mismatch", detail)
    signals = (layout or segments[0].header).signals
    return Record(
        header=Header(frame_rate_hz=rate, num_frames=start, signals=signals, comments={}),
        segments=tuple(segments),
        is_segmented=True,
        is_variable=is_variable,
        defects=tuple(defects.values()),
    )


def _open(path: pathlib.Path, frame_rate_hz: float) -> Header:
    """Returns the header of a segment with its length; raises Defect if it cannot be read."""
    header = wfdb_header.read(path)
    if header.frame_rate_hz != frame_rate_hz:
        stated = f"{header.frame_rate_hz:g} Hz instead of {frame_rate_hz:g} Hz"
        raise Defect("wrong_rate", f"The header {path.name}.hea states {stated}.")
    return dataclasses.replace(header, num_frames=wfdb_record.count_frames(path, header))


def find_row(record: Record, segment: Segment, row: int) -> int | None:
    """Returns the number of a record's signal in a segment; None if the segment lacks it.

    Signals are found by name. Without names they are found by position, if all segments have the
    same signals.
    """
    wanted = leads.normalize(record.header.signals[row].lead)
    names = [leads.normalize(signal.lead) for signal in segment.header.signals]
    if len(names) == len(record.header.signals):
        is_unnamed = not record.is_variable and not (wanted and names[row])
        if is_unnamed or names[row] == wanted:
            return row
    return names.index(wanted) if wanted and names.count(wanted) == 1 else None
