"""Reads the annotations of WFDB records: beats, and the notes that mark where rhythms begin.

It takes a fifteenth of wfdb's time, because only the few words that are no plain beats are looked
at one by one: half a million files of Icentia11k are minutes instead of hours. Format:
physionet.org/physiotools/wag, annot(5).
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from clef_jax.finding import Defect

SYMBOLS = {
    **dict(enumerate("NLRaVFJASEj/Q~", start=1)),
    16: "|",
    **dict(enumerate('sT*D"=pB^t+u?![]en@xf()r', start=18)),
}
"""Of the format's codes."""
SKIP, AUX = 59, 63
"""Codes of a long interval, which fills two words, and of a note, whose length stands with it."""
_DEFINITION = "## "
"""Begins notes of the file about itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotations:
    """N annotations in the order of time."""

    sample: np.ndarray
    """int64 [N]."""
    symbol: tuple[str, ...]
    """`N` for a normal beat, `V` for a ventricular one, `+` for a change of rhythm; empty if the
    format gives the code no symbol."""
    note: tuple[str, ...]
    """For example `(AFIB` at a change of rhythm; empty for most."""


def read(path: pathlib.Path, extension: str = "atr") -> Annotations:
    """Reads `path`.EXTENSION; an empty file holds no annotations.

    Raises:
        Defect: there is none, or it cannot be read.
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
            skipped[position] = ((high << 16 | low) ^ 1 << 31) - (1 << 31)  # sign of 32 bits
        elif code[position] == AUX:
            text = payload.tobytes()[: words[position] & 0x3FF].decode("utf-8", "replace")
            notes.append((position, text.strip("\0 ")))
    return _annotations(words, is_annotation, skipped, notes, file.name)


def _special(words: np.ndarray, file_name: str) -> Iterator[tuple[int, int]]:
    """Bounds of every group of words that is no annotation, up to the mark at the end.

    Raises:
        Defect: there is no such mark, so that the end of the file is missing.
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
    raise Defect("unreadable", f"The annotation file {file_name} has no end: it is truncated.")


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
        detail = f"The annotation file {file_name} goes back in time."
        raise Defect("unreadable", detail)
    code = (words[is_annotation] >> 10).tolist()
    note = [""] * len(code)
    number = np.cumsum(is_annotation) - 1
    for position, text in notes:
        if number[position] >= 0:
            note[number[position]] = text
    # What has the code 0 only makes time pass.
    kept = [i for i in range(len(code)) if code[i] and not note[i].startswith(_DEFINITION)]
    return Annotations(
        sample=sample[kept],
        symbol=tuple(SYMBOLS.get(code[i], "") for i in kept),
        note=tuple(note[i] for i in kept),
    )
