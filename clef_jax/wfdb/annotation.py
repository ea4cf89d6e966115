"""Reads the annotations of WFDB records: beats, and the notes that mark where rhythms begin.

It takes a fifteenth of wfdb's time, because Python loops only over the few words that are not
plain beats: half a million files of Icentia11k take minutes instead of hours. Format:
physionet.org/physiotools/wag, annot(5).
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from clef_jax.finding import Defect

SYMBOLS = {
    **dict(enumerate("NLRaVFJASEj/Q~", start=1)),
    16: "|",
    **dict(enumerate('sT*D"=pB^t+u?![]en@xf()r', start=18)),
}
"""Symbols of the format's annotation codes."""
SKIP, AUX = 59, 63
"""Codes of a long interval, which fills two words, and of a note, whose word holds its length."""
_NOTE = 22
"""Code of a note about the signal or about the file."""
_ABOUT_FILE = "## "
"""Prefix of notes about the file, which are no annotations."""
_DEFINITIONS, _END = "## annotation type definitions", "## end of definitions"
"""The notes between these two define codes: number, symbol and description."""
_RESOLUTION = re.compile(r"## time resolution:\s*(\d+(?:\.\d+)?)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotations:
    """N annotations in the order of time."""

    sample: np.ndarray
    """int64 [N], the time of each annotation in frames of its record, or in units of
    `time_resolution_hz`; a frame is a sample in most records."""
    symbol: tuple[str, ...]
    """`N` for a normal beat, `V` for a ventricular beat, `+` for a change of rhythm; empty if
    neither the format nor the file gives the code a symbol."""
    note: tuple[str, ...]
    """Text of each annotation, for example `(AFIB` at a change of rhythm; empty for most."""
    time_resolution_hz: float | None = None
    """Units of time per second, if the file states them; by default those of its record."""


def read(path: pathlib.Path, extension: str = "atr") -> Annotations:
    """Reads the annotation file `path`.EXTENSION; an empty file holds no annotations.

    Args:
        path: path of the record, without extension.
        extension: name of the annotator, which is the file's extension.

    Raises:
        Defect: the file is missing, malformed or truncated.
    """
    file = path.with_name(f"{path.name}.{extension}")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        detail = f"The annotation file {file.name} does not exist."
        raise Defect("missing_annotation", detail) from None
    except OSError as error:
        raise Defect("unreadable", f"{file.name} cannot be read: {error.strerror}.") from None
    words = np.frombuffer(data, "<u2", len(data) // 2)
    if not data:
        return Annotations(sample=np.zeros(0, np.int64), symbol=(), note=())
    code = words >> 10
    is_annotation, skipped, notes = code < SKIP, np.zeros(len(words), np.int64), []
    for position, end in _special(words, file.name):
        payload = words[position + 1 : end]
        is_annotation[position:end] = False
        if words[position] == 0:
            is_annotation[position:] = False
        elif code[position] == SKIP:
            high, low = payload.tolist()
            skipped[position] = ((high << 16 | low) ^ 1 << 31) - (
                1 << 31
            )  # extends the sign of 32 bits
        elif code[position] == AUX:
            text = payload.tobytes()[: words[position] & 0x3FF].decode("utf-8", "replace")
            notes.append((position, text.strip("\0 ")))
    return _annotations(words, is_annotation, skipped, notes, file.name)


def _special(words: np.ndarray, file_name: str) -> Iterator[tuple[int, int]]:
    """Yields the bounds of each group of words that is no annotation, up to the end mark.

    Raises:
        Defect: the file has no end mark, so it is truncated.
    """
    code, next_position = words >> 10, 0
    for position in np.flatnonzero((code >= SKIP) | (words == 0)).tolist():
        if position < next_position:  # text of a note
            continue
        length = {SKIP: 2, AUX: (int(words[position] & 0x3FF) + 1) // 2}.get(int(code[position]), 0)
        next_position = position + 1 + length
        if next_position > len(words):
            break
        yield position, next_position
        if words[position] == 0:
            return
    raise Defect("unreadable", f"The annotation file {file_name} has no end mark: it is truncated.")


def _annotations(
    words: np.ndarray,
    is_annotation: np.ndarray,
    skipped: np.ndarray,
    notes: list[tuple[int, str]],
    file_name: str,
) -> Annotations:
    intervals = np.where(is_annotation, words & 0x3FF, 0).astype(np.int64)
    sample = np.cumsum(intervals + skipped)[is_annotation]
    if (np.diff(sample, prepend=0) < 0).any():
        detail = f"Times in the annotation file {file_name} decrease."
        raise Defect("unreadable", detail)
    code = (words[is_annotation] >> 10).tolist()
    note = [""] * len(code)
    number = np.cumsum(is_annotation) - 1
    for position, text in notes:
        if number[position] >= 0:
            note[number[position]] = text
    symbols, about_file, resolution = _read_notes(code, note)
    # An annotation with code 0 only advances the time.
    kept = [i for i in range(len(code)) if code[i] and i not in about_file]
    return Annotations(
        sample=sample[kept],
        symbol=tuple(symbols.get(code[i], "") for i in kept),
        note=tuple(note[i] for i in kept),
        time_resolution_hz=resolution,
    )


def _read_notes(code: list[int], note: list[str]) -> tuple[dict[int, str], set[int], float | None]:
    """Returns the symbols of all codes, the numbers of the notes about the file, and the time
    resolution that the file states."""
    symbols, about_file, resolution, defines = dict(SYMBOLS), set(), None, False
    for i, text in enumerate(note):
        if code[i] and text.startswith(_ABOUT_FILE):
            about_file.add(i)
            defines = text.startswith(_DEFINITIONS) or (defines and not text.startswith(_END))
            if match := _RESOLUTION.match(text):
                resolution = float(match[1])
        elif defines and code[i] == _NOTE:
            about_file.add(i)
            number, _, rest = text.partition(" ")
            if number.isdecimal() and rest.split():
                symbols[int(number)] = rest.split()[0]
        else:
            defines = False
    return symbols, about_file, resolution
