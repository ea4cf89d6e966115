"""Reads the headers of WFDB records, in all dialects that ECG archives use.

Comments may follow `#` or `# `; a date may stand before the time, which wfdb-python refuses.
Format: physionet.org/physiotools/wag, header(5).
"""

import dataclasses
import os
import pathlib
import re

from clef_jax.finding import Defect

_MAX_HEADER_BYTES = 1 << 16
_RECORD_LINE = re.compile(
    r"(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<signals>\d+)"
    r"(?:\s+(?P<rate>\d[\d.eE+-]*)(?:/[^\s(]+(?:\(\S+\))?)?(?:\s+(?P<samples>\d+)(?:\s.*)?)?)?"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[-+.\deE]+)(?:\((?P<baseline>[-+]?\d+)\))?(?:/(?P<units>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d+)(?:\s+-?\d+(?:\s+(?P<checksum>-?\d+)(?:\s+\d+"
    r"(?:\s+(?P<lead>\S.*?))?)?)?)?)?)?)?\s*"
)
_COMMENT = re.compile(r"#\s*<?(?P<name>[A-Za-z][\w ]*?)>?\s*:\s*(?P<value>.*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """One signal line of a header."""

    file: str
    format: str
    samples_per_frame: int
    skew: int
    offset_bytes: int
    gain: float
    baseline: int
    units: str
    checksum: int | None
    lead: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the header says of a record of one segment."""

    sample_rate_hz: float
    num_samples: int | None
    """None if it leaves the length to the signal file."""
    signals: tuple[Signal, ...]
    comments: dict[str, str]
    """Lines like `#Age: 85`, by their names in lower case."""

    @property
    def common_format(self) -> str | None:
        """The storage format of signals that are interleaved in one file; None if they are not."""
        files, formats = {s.file for s in self.signals}, {s.format for s in self.signals}
        simple = all(s.samples_per_frame == 1 and s.skew == 0 for s in self.signals)
        return formats.pop() if len(files) == len(formats) == 1 and simple else None


def read(path: pathlib.Path) -> Header:
    """Reads `path`.hea.

    Raises:
        Defect: there is none, or it breaks the format.
    """
    file = path.with_name(path.name + ".hea")
    lines, remarks = read_lines(file)
    comments = [match for line in remarks if (match := _COMMENT.fullmatch(line))]
    record = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if record is None or not (0 < int(record["signals"]) <= len(lines) - 1) or record["segments"]:
        detail = f"The first line of the header {file.name} describes no record of one segment."
        raise Defect("unreadable", detail)
    try:
        rate = float(record["rate"] or 250)  # 250 Hz is the format's default
    except ValueError:
        detail = f"The header {file.name} has a rate that is no number."
        raise Defect("unreadable", detail) from None
    return Header(
        sample_rate_hz=rate,
        num_samples=int(record["samples"] or 0) or None,
        signals=tuple(_signal(line, file.name) for line in lines[1 : int(record["signals"]) + 1]),
        comments={match["name"].lower(): match["value"].strip() for match in comments},
    )


def read_lines(
    file: pathlib.Path, max_bytes: int = _MAX_HEADER_BYTES
) -> tuple[list[str], list[str]]:
    """Returns the lines of a header that are not empty: first records and signals, then comments.

    Args:
        max_bytes: what follows is not read.

    Raises:
        Defect: the file is missing or cannot be read.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(max_bytes).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise Defect("missing_file", f"The header {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    remarks = [line for line in lines if line.startswith("#")]
    return [line for line in lines if not line.startswith("#")], remarks


def _signal(line: str, file_name: str) -> Signal:
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        detail = f"The header {file_name} has a signal line without a storage format."
        raise Defect("unreadable", detail)
    try:
        gain = float(match["gain"] or 0)
    except ValueError:
        raise Defect(
            "unreadable", f"The header {file_name} has a gain that is no number."
        ) from None
    if os.path.basename(match["file"]) != match["file"] or "\0" in match["file"]:
        detail = f"The header names the signal file {match['file']!r} in another folder."
        raise Defect("path_outside_source", detail)
    checksum = match["checksum"]
    return Signal(
        file=match["file"],
        format=match["format"],
        samples_per_frame=int(match["frame"] or 1),
        skew=int(match["skew"] or 0),
        offset_bytes=int(match["offset"] or 0),
        gain=gain,
        baseline=int(match["baseline"] or match["zero"] or 0),
        units=match["units"] or "mV",
        checksum=None if checksum is None else int(checksum),
        lead=match["lead"] or "",
    )
