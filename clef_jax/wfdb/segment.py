"""Reads the headers of WFDB records that consist of several records, their segments.

Format: physionet.org/physiotools/wag, header(5), "multi-segment records".
"""

import dataclasses
import os
import pathlib
import re

from clef_jax.finding import Defect
from clef_jax.wfdb import fallback, header as wfdb_header
from clef_jax.wfdb.header import Header

_MAX_HEADER_BYTES = 1 << 20
_RECORD_LINE = re.compile(r"[^\s/#]+/(\d+)\s.*")
_GAP = "~"


def read_names(file: pathlib.Path) -> tuple[str, ...]:
    """Returns the names of the segments that a header lists, `~` for a gap; none for the header of
    an ordinary record.

    Raises:
        Defect: the header cannot be read, or a segment lies in another folder.
    """
    lines, _ = wfdb_header.read_lines(file, _MAX_HEADER_BYTES)
    record = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if record is None:
        return ()
    names = tuple(line.split()[0] for line in lines[1 : 1 + int(record[1])])
    for name in names:
        if os.path.basename(name) != name or name in (".", "..") or "\0" in name:
            detail = f"The header {file.name} names the segment {name!r} in another folder."
            raise Defect("path_outside_source", detail)
    return names


def read_header(path: pathlib.Path, names: tuple[str, ...]) -> Header:
    """Returns the header of a whole record; its signals are those of the first segment, which may
    be a layout without samples.

    Args:
        path: of the record, without extension.
        names: of its segments.

    Raises:
        Defect: no segment has samples, or a header is missing or malformed.
    """
    segments = [name for name in names if name != _GAP]
    if not segments:
        raise Defect("empty", f"The record {path.name} has no segment with samples.")
    first = wfdb_header.read(path.with_name(segments[0]))
    sample_rate_hz, num_samples = fallback.read_rate_and_length(path)
    return dataclasses.replace(first, sample_rate_hz=sample_rate_hz, num_samples=num_samples)
