"""Assigns the rows of a table of labels to recordings, and states why a row has none.

A row names a recording by its path within the input folder, with or without suffix, or by its bare
name where only one recording has it.

Shapes: N rows.
"""

import collections
import dataclasses
import pathlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from clef_jax import formats
from clef_jax.csv_file import Note
from clef_jax.errors import UserError, counted, printable
from clef_jax.fitting.labels import Labels, is_missing

_MOST_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assigned:
    """Use of a row of labels or of a recording without a row, or why it was not used."""

    line: int | None
    """Line of the row; None for a recording without a row."""
    id: str
    """Text by which the row names its recording."""
    recording: str | None
    """Name of the recording; None if no single one was found."""
    problem: str = ""
    """Short stable code of why it is not used; empty if it is used."""
    detail: str = ""
    """One sentence on the problem."""

    @property
    def used(self) -> bool:
        return not self.problem


class Index:
    """Finds recordings by the texts that may name them.

    Args:
        recordings: names of the recordings, all different.
        root: folder of the recordings, for absolute paths.
    """

    def __init__(self, recordings: Iterable[str], root: pathlib.Path | None = None):
        self._root = root
        self._by_level: tuple[dict[str, set[str]], ...] = tuple(
            collections.defaultdict(set) for _ in range(4)
        )
        self._number: dict[int, str] = {}
        for name in recordings:
            self._add(name)

    def _add(self, name: str) -> None:
        whole, _, part = name.partition("#")
        full, stems, bare, bare_stems = self._by_level
        full[name].add(name)
        full[whole].add(name)
        for stem in _stems(whole):
            stems[stem].add(name)
        for text in filter(None, (whole, part)):
            bare[posixpath.basename(text)].add(name)
            for stem in _stems(posixpath.basename(text)):
                bare_stems[stem].add(name)
                if stem.isdecimal():
                    self._number.setdefault(int(stem), stem)

    def find(self, text: str) -> set[str]:
        """Returns the recordings that a text may name; those of the most exact match."""
        wanted = self._relative(text)
        for level in self._by_level:
            if wanted in level:
                return level[wanted]
        for stem in _stems(wanted, known_only=True):  # `A1.mat` may name the recording `A1.hea`
            for level in self._by_level[1::2]:
                if stem in level:
                    return level[stem]
        return set()

    def hint(self, text: str) -> str:
        """Returns a sentence on why a text may name no recording, after a space; or nothing."""
        number = text.removesuffix(".0")
        if number.isdecimal() and (stem := self._number.get(int(number))) not in (None, text):
            return (
                f" A recording is named {stem}: a spreadsheet may have removed its zeros or made "
                "it a number; format the column as text."
            )
        return ""

    def _relative(self, text: str) -> str:
        path = text.replace("\\", "/")
        if self._root is not None and posixpath.isabs(path):
            absolute = pathlib.PurePosixPath(path)
            root = pathlib.PurePosixPath(str(self._root))
            path = str(absolute.relative_to(root)) if absolute.is_relative_to(root) else path
        return posixpath.normpath(path) if path else path


def _stems(path: str, *, known_only: bool = False) -> list[str]:
    """Returns a path without its suffix, and without both if it has two, as `.csv.gz`.

    Args:
        known_only: whether to remove only the suffixes of formats of recordings.
    """
    found, current = [], path
    for _ in range(2):
        stem, suffix = posixpath.splitext(current)
        known = suffix.lower() in formats.suffixes() or suffix.lower() in (".mat", ".dat")
        if not suffix or not stem or (not known and (known_only or found)):
            break
        found.append(stem)
        current = stem
    return found or ([] if known_only else [path])


def assign(labels: Labels, index: Index) -> list[Assigned]:
    """Returns the recording of each row, [N], or why the row is not used.

    Raises:
        UserError: no row names a recording.
    """
    rows = [_one(labels, row, index.find(text), index) for row, text in enumerate(labels.ids)]
    if all(row.recording is None for row in rows):
        first = printable(labels.ids[0][:60])
        hint = next((index.hint(text) for text in labels.ids if index.hint(text)), "")
        raise UserError(
            f"None of {counted(len(rows), 'row')} names a recording of --input; the first one is "
            f"{first!r}.{hint} Name recordings by their path within --input, or by their bare "
            "name, or set --id-column.",
            problem="no_match",
        )
    return _without_repetitions(labels, rows)


def _one(labels: Labels, row: int, found: set[str], index: Index) -> Assigned:
    text, line = labels.ids[row], labels.lines[row]
    name = next(iter(found)) if len(found) == 1 else None
    names = labels.columns[:1] * len(labels.outputs) if labels.kind == "multiclass" else None
    missing = list(
        dict.fromkeys(
            (names or labels.outputs)[k] for k in np.flatnonzero(np.isnan(labels.target[row]))
        )
    )
    problem = detail = ""
    if is_missing(text):
        problem, detail = "missing_id", "The row does not say which recording it labels."
    elif not found:
        problem, detail = "no_recording", f"No recording has this name.{index.hint(text)}"
    elif len(found) > 1:
        problem = "several_recordings"
        shown = ", ".join(sorted(found)[:_MOST_SHOWN])
        detail = f"{counted(len(found), 'recording')} have this name, such as {shown}; use paths."
    elif missing:
        problem = "missing_label"
        detail = f"The row has no value for {', '.join(missing[:_MOST_SHOWN])}."
    elif labels.patients is not None and is_missing(labels.patients[row]):
        problem, detail = "missing_patient", "The row does not say whose recording it is."
    return Assigned(line=line, id=text, recording=name, problem=problem, detail=detail)


def _without_repetitions(labels: Labels, rows: Sequence[Assigned]) -> list[Assigned]:
    """Marks rows that label a recording again; all of them if they contradict each other."""
    by_recording: dict[str, list[int]] = collections.defaultdict(list)
    for number, row in enumerate(rows):
        if row.used and row.recording is not None:
            by_recording[row.recording].append(number)
    result = list(rows)
    for numbers in by_recording.values():
        if len(numbers) < 2:
            continue
        lines = ", ".join(str(labels.lines[number]) for number in numbers[:_MOST_SHOWN])
        same_label = (labels.target[numbers] == labels.target[numbers[0]]).all()
        patients = labels.patients
        same_patient = patients is None or len({patients[number] for number in numbers}) == 1
        if same_label and same_patient:
            numbers, problem = numbers[1:], "repeated_row"
            detail = f"The lines {lines} label this recording alike; the first one is used."
        else:
            problem = "contradictory_rows"
            what = "labels" if not same_label else "patients"
            detail = f"The lines {lines} give this recording different {what}; none is used."
        for number in numbers:
            result[number] = dataclasses.replace(rows[number], problem=problem, detail=detail)
    return result


def without_row(recordings: Iterable[str], rows: Sequence[Assigned]) -> list[Assigned]:
    """Returns an entry for each recording that no row names."""
    named = {row.recording for row in rows}
    detail = "No row of the labels names this recording."
    return [
        Assigned(line=None, id="", recording=name, problem="no_row", detail=detail)
        for name in recordings
        if name not in named
    ]


def patient_notes(labels: Labels, rows: Sequence[Assigned]) -> list[Note]:
    """Returns a note about patients whose recordings have different labels."""
    if labels.patients is None:
        return []
    by_patient: dict[str, set[bytes]] = collections.defaultdict(set)
    for number, row in enumerate(rows):
        if row.used:
            by_patient[labels.patients[number]].add(labels.target[number].tobytes())
    differing = sum(len(targets) > 1 for targets in by_patient.values())
    if not differing:
        return []
    detail = (
        f"{differing:,} of {counted(len(by_patient), 'patient')} have recordings with different "
        "labels, which is right for what changes over time, and wrong for what does not."
    )
    return [Note(problem="patient_labels_differ", detail=detail)]


def counts(rows: Sequence[Assigned]) -> Mapping[str, int]:
    """Returns the number of entries that are not used by problem, the most frequent first."""
    counter = collections.Counter(row.problem for row in rows if row.problem)
    return dict(counter.most_common())
