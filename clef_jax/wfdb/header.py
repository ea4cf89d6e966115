"""Reads the headers of WFDB records, in all dialects that ECG archives use.

Comments may follow `#` or `# `; a date may precede the time, which wfdb-python rejects.
Format: physionet.org/physiotools/wag, header(5).
"""

import dataclasses
import functools
import math
import os
import pathlib
import re

from clef_jax import files
from clef_jax.errors import counted
from clef_jax.finding import Defect

_MAX_HEADER_BYTES = 1 << 16
_RECORD_LINE = re.compile(
    r"(?P<name>[^\s/]+)(?P<segments>/\d{1,9})?\s+(?P<signals>\d{1,9})"
    r"(?:\s+(?P<rate>\d[\d.eE+-]*)(?:/[^\s(]+(?:\(\S+\))?)?"
    r"(?:\s+(?P<frames>\d{1,15})(?:\s.*)?)?)?"
)
_NUMBER = r"\s+(?P<{}>[-+]?\d{{1,15}})(?:\.\d*)?(?!\S)"
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,9})(?:x(?P<frame>\d{1,9}))?(?::(?P<skew>\d{1,9}))?"
    r"(?:\+(?P<offset>\d{1,15}))?(?!\S)"
    r"(?:\s+(?P<gain>[-+.\d][-+.\deE]*)(?:\((?P<baseline>[-+]?\d{1,15})\))?"
    r"(?:/(?P<units>\S+))?(?!\S))?"
    # Some archives leave out any of these five numbers, but not the name that follows.
    + "".join(f"(?:{_NUMBER.format(n)})?" for n in ("bits", "zero", "first", "checksum", "block"))
    + r"(?:\s+(?P<lead>\S.*?))?\s*"
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
    """ADC units per physical unit; 0 if the header states none."""
    baseline: int
    units: str
    first: int
    """Value from which format 8 counts its differences."""
    checksum: int | None
    """Sum of all samples modulo 65536; None if the header does not state it."""
    lead: str


@dataclasses.dataclass(frozen=True)
class SignalFile:
    """The signals of a header whose samples are interleaved in one file."""

    name: str
    format: str
    offset_bytes: int
    rows: tuple[int, ...]
    """Numbers of the signals in the header."""
    widths: tuple[int, ...]
    """Number of samples per frame of each signal."""

    @property
    def width(self) -> int:
        """Number of samples per frame of all signals."""
        return sum(self.widths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Header of a record of one segment.

    A frame holds one or more samples of each signal. In most records it holds one.
    """

    frame_rate_hz: float
    num_frames: int | None
    """Number of frames; None if the header does not state it."""
    signals: tuple[Signal, ...]
    comments: dict[str, str]
    """Values of comment lines such as `#Age: 85`, by their names in lower case."""

    @property
    def samples_per_frame(self) -> int:
        """The number of samples per frame of every signal.

        Raises:
            Defect: it differs between the signals.
        """
        numbers = {signal.samples_per_frame for signal in self.signals}
        if len(numbers) > 1:
            rates = ", ".join(f"{self.frame_rate_hz * n:g} Hz" for n in sorted(numbers))
            detail = f"The signals of the record have several sampling rates: {rates}."
            raise Defect("mixed_rates", detail)
        return numbers.pop()

    @functools.cached_property
    def files(self) -> tuple[SignalFile, ...]:
        """The signal files, in the order of the header.

        Raises:
            Defect: the signals of a file have different formats or positions.
        """
        rows: dict[str, list[int]] = {}
        for row, signal in enumerate(self.signals):
            rows.setdefault(signal.file, []).append(row)
        signal_files = []
        for name, numbers in rows.items():
            stated = {(self.signals[i].format, self.signals[i].offset_bytes) for i in numbers}
            if len(stated) > 1:
                detail = f"The header states several storage formats or positions for {name}."
                raise Defect("unreadable", detail)
            widths = tuple(self.signals[i].samples_per_frame for i in numbers)
            signal_files.append(SignalFile(name, *stated.pop(), tuple(numbers), widths))
        return tuple(signal_files)

    @property
    def sample_rate_hz(self) -> float:
        """The sampling rate of every signal; raises Defect if it differs between them."""
        return self.frame_rate_hz * self.samples_per_frame

    @property
    def num_samples(self) -> int | None:
        """The number of samples of every signal, None if the header does not state it.

        Raises:
            Defect: it differs between the signals.
        """
        return None if self.num_frames is None else self.num_frames * self.samples_per_frame


def read(path: pathlib.Path) -> Header:
    """Reads the header file `path`.hea of a record of one segment.

    Args:
        path: path of the record, without extension.

    Raises:
        Defect: the file is missing or malformed, or describes several segments.
    """
    file = find(path.with_name(path.name + ".hea"))
    lines, comment_lines = read_lines(file)
    comments = [match for line in comment_lines if (match := _COMMENT.fullmatch(line))]
    record = match_record_line(lines)
    if record is not None and not int(record["signals"]):
        raise Defect("empty", f"The header {file.name} describes a record without signals.")
    if record is None or record["segments"]:
        detail = (
            f"The first line of the header {file.name} does not describe a record of one segment."
        )
        raise Defect("unreadable", detail)
    stated, found = int(record["signals"]), len(lines) - 1
    if found < stated:
        detail = (
            f"The header {file.name} states {counted(stated, 'signal')}, but describes {found}."
        )
        raise Defect("unreadable", detail)
    return Header(
        frame_rate_hz=frame_rate_hz(record, file.name),
        num_frames=int(record["frames"] or 0) or None,
        signals=tuple(_signal(line, file.name) for line in lines[1 : stated + 1]),
        comments={match["name"].lower(): match["value"].strip() for match in comments},
    )


def find(path: pathlib.Path) -> pathlib.Path:
    """Returns a file of a record, or the one whose name differs only in upper and lower case.

    Some systems change the names of files on a copy, and not the names in their headers. The path
    itself is returned if neither exists.
    """
    stem, suffix = os.path.splitext(path.name)
    names = (path.name, stem + suffix.upper(), stem + suffix.lower(), path.name.upper())
    paths = [path.with_name(name) for name in (*names, path.name.lower())]
    return next((path for path in paths if os.path.lexists(path)), path)


def match_record_line(lines: list[str]) -> re.Match[str] | None:
    """Returns the fields `name`, `segments`, `signals`, `rate` and `frames` of a header's first
    line, or None if it is malformed."""
    return _RECORD_LINE.fullmatch(lines[0]) if lines else None


def frame_rate_hz(record: re.Match[str], file_name: str) -> float:
    """Returns the number of frames per second of a header; raises Defect if it is no number."""
    try:
        return float(record["rate"] or 250)  # 250 Hz is the format's default
    except ValueError:
        detail = f"The header {file_name} states a sampling rate that is not a number."
        raise Defect("unreadable", detail) from None


def of_signal_file(path: pathlib.Path) -> pathlib.Path | None:
    """Returns the header, in the folder of a signal file, that names the file; None if none does.

    A header with the file's own name that is malformed or lists segments counts as well.
    """
    own = find(path.with_suffix(".hea"))
    if own.is_file():
        try:
            files_of_own = {s.file.casefold() for s in read(own.with_suffix("")).signals}
            named = path.name.casefold() in files_of_own
        except Defect:
            named = True
        if named:
            return own
    try:
        changed = path.parent.stat().st_mtime_ns
    except OSError:
        return None
    return _headers_by_signal_file(path.parent, changed).get(path.name.casefold())


@functools.lru_cache(maxsize=1)
def _headers_by_signal_file(folder: pathlib.Path, changed: int) -> dict[str, pathlib.Path]:
    """Returns the header of each signal file that the folder's headers name, by its name in lower
    case.

    Args:
        changed: time at which the folder was changed, after which the result is out of date.
    """
    del changed
    headers: dict[str, pathlib.Path] = {}
    for file in sorted(folder.glob("*.[hH][eE][aA]"), reverse=True):
        try:
            header = read(file.with_suffix(""))
        except Defect:  # opening the record reports it
            continue
        headers.update((signal.file.casefold(), file) for signal in header.signals)
    return headers


def read_lines(
    file: pathlib.Path, max_bytes: int = _MAX_HEADER_BYTES
) -> tuple[list[str], list[str]]:
    """Returns the non-empty lines of a header: those of record and signals, and the comments.

    Args:
        max_bytes: number of bytes to read; the rest of the file is ignored.

    Raises:
        Defect: the file is missing or cannot be read.
    """
    if files.is_special(file):
        detail = f"{file.name} is a pipe, a socket or a device; it was not opened."
        raise Defect("not_a_file", detail)
    try:
        with file.open("rb") as stream:
            data = stream.read(max_bytes)
    except FileNotFoundError:
        raise Defect("missing_file", f"The header {file.name} does not exist.") from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    if len(data) == max_bytes:
        data = data[: data.rfind(b"\n") + 1]  # the last line is incomplete
    lines = [line for text in _decode(data) if (line := text.strip("\ufeff\x1a\0 \t\v\f"))]
    comment_lines = [line for line in lines if line.startswith("#")]
    return [line for line in lines if not line.startswith("#")], comment_lines


def _decode(data: bytes) -> list[str]:
    """Returns lines in UTF-8 or, as some recorders write a micro sign, in Latin-1."""
    try:
        return data.decode("utf-8").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        lines = data.replace(b"\r", b"\n").split(b"\n")
        return [_decode(line)[0] if len(lines) > 1 else line.decode("latin-1") for line in lines]


def _signal(line: str, file_name: str) -> Signal:
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        detail = f"The header {file_name} has a signal line without a storage format."
        raise Defect("unreadable", detail)
    file, storage_format, frame, skew, offset, gain, baseline, units, *rest = match.groups()
    _, zero, first, checksum, _, lead = rest
    try:
        number = float(gain or 0)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise Defect("unreadable", f"The header {file_name} states a gain that is not a number.")
    if os.path.basename(file) != file or "\0" in file:
        detail = f"The header names the signal file {file!r} in another folder."
        raise Defect("path_outside_source", detail)
    adc_at_zero = int(baseline or zero or 0)
    if abs(adc_at_zero) >= 1 << 31:
        detail = f"The header {file_name} states a baseline of more than 32 bits."
        raise Defect("unreadable", detail)
    return Signal(
        file=file,
        format=storage_format,
        samples_per_frame=int(frame or 1) or 1,
        skew=int(skew or 0),
        offset_bytes=int(offset or 0),
        gain=number,
        baseline=adc_at_zero,
        units=units or "mV",
        first=int(first or 0),
        checksum=None if checksum is None else int(checksum),
        lead=(lead or "").rstrip(", "),  # one archive ends every name with a comma
    )
