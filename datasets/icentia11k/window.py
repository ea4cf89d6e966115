"""Chooses the windows of a patient's days: at most so many of each class of beat and of rhythm.

The choice is random, but the same in every build: it follows from the patient id alone.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np

from clef_jax import files
from clef_jax.building.listing import Entry
from clef_jax.data import quality
from clef_jax.data.record import Recording
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import (
    annotation as wfdb_annotation,
    header as wfdb_header,
    record as wfdb_record,
)
from clef_jax.wfdb.annotation import Annotations

LEAD = "I"
"""The two electrodes of the patch lie on the upper chest: a modified lead I."""
_SIGNAL = "ecg"
SAMPLE_RATE_HZ = 250.0
NUM_SAMPLES = 2500
BEATS = {"N": "normal", "S": "supraventricular", "V": "ventricular"}
RHYTHMS = {"(N": "normal", "(AFIB": "afib", "(AFL": "flutter"}
_RHYTHM_END = ")"
_RECORDS = "RECORDS"

_EXTENSIONS = (".hea", ".dat", ".atr")
_END_MARK_BYTES = 2
_MAX_TRIES = 20
"""Windows of a class and segment that are looked at for one with a signal."""

Kind = tuple[str, str]
"""A label and one of its classes."""
KINDS: tuple[Kind, ...] = (
    *(("beat", name) for name in BEATS.values()),
    *(("rhythm", name) for name in RHYTHMS.values()),
)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """One window of a segment; the only signal goes by the name of its lead."""
    path = files.locate(source, entry.path)
    recording = wfdb_record.read(path, entry.start_sample, entry.num_samples)
    names = (LEAD if n.strip().lower() in ("", _SIGNAL) else n for n in recording.lead_names)
    return dataclasses.replace(recording, lead_names=tuple(names))


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """The windows of a patient, and what is wrong with its segments.

    All segments are looked at, but annotations are read only until there are enough windows.

    Raises:
        Defect: the patient has no segment, or none of its windows has a label.
    """
    names = _segments(source, entry)
    lengths: dict[str, int] = {}
    num_without = 0
    for name in names:
        segment = _segment(entry, name)
        try:
            lengths[name] = _measure(source, segment)
        except Defect as defect:
            yield defect.finding(segment.record_id)
            continue
        if not _has_annotations(source, segment):
            del lengths[name]
            num_without += 1
    if num_without:
        detail = f"{num_without} of its {len(names)} segments have no annotations."
        yield Finding(entry.record_id, "missing_annotation", None, detail, "kept")
    drawn = _Drawn(source, max_windows, _generator(entry.patient_id))
    for name in drawn.generator.permutation(list(lengths)).tolist():
        segment = _segment(entry, name)
        try:
            annotations = wfdb_annotation.read(files.locate(source, segment.path, _EXTENSIONS))
        except Defect as defect:
            yield defect.finding(segment.record_id)
            continue
        drawn.add(segment, starts_of(annotations, lengths[name]))
        if drawn.is_full:
            break
    if drawn.num_passed_over:
        detail = f"Windows without a signal that others were taken for: {drawn.num_passed_over}."
        yield Finding(entry.record_id, "windows_passed_over", None, detail, "kept")
    found = drawn.windows()
    if not found:
        detail = f"None of its {len(names)} segments has a window with a label."
        raise Defect("no_window", detail)
    yield from found


def _generator(patient_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"windows of {patient_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _segments(source: pathlib.Path, entry: Entry) -> list[str]:
    """The names of a patient's segments, sorted: as its own RECORDS lists them, or all headers.

    Raises:
        Defect: there is no folder, or nothing in it.
    """
    patient = source / entry.path
    if not patient.is_dir():
        raise Defect("missing_file", f"The folder {entry.path} does not exist.")
    lines = []
    if (patient / _RECORDS).is_file():
        text = (patient / _RECORDS).read_text(encoding="utf-8-sig", errors="replace")
        lines = [pathlib.PurePosixPath(line.strip()).name for line in text.splitlines()]
    listed = {line.removesuffix(".hea") for line in lines} - {""}
    found = listed or {path.stem for path in patient.glob("*.hea")}
    if not found:
        raise Defect("missing_file", f"The folder {entry.path} holds no segments.")
    return sorted(found)


def _segment(entry: Entry, name: str) -> Entry:
    return dataclasses.replace(entry, record_id=f"{entry.path}/{name}")


def _measure(source: pathlib.Path, segment: Entry) -> int:
    """How many samples a segment has.

    Raises:
        Defect: it has another rate, is truncated, or a file is missing.
    """
    path = files.locate(source, segment.path, _EXTENSIONS)
    header = wfdb_header.read(path)
    if header.sample_rate_hz != SAMPLE_RATE_HZ:
        detail = f"Sampled at {header.sample_rate_hz:g} Hz instead of {SAMPLE_RATE_HZ:g} Hz."
        raise Defect("wrong_rate", detail)
    return wfdb_record.count_samples(path, header)


def _has_annotations(source: pathlib.Path, segment: Entry) -> bool:
    """The source leaves the file out, or empty, where nothing was annotated."""
    stem = files.locate(source, segment.path, _EXTENSIONS)
    file = stem.with_name(f"{stem.name}.atr")
    return file.is_file() and file.stat().st_size > _END_MARK_BYTES


def starts_of(annotations: Annotations, num_samples: int) -> dict[Kind, np.ndarray]:
    """Where windows of each kind can begin: int64 arrays.

    A window of a beat has it in the middle; one of a rhythm begins with the rhythm's annotation and
    ends before the rhythm does. Both lie inside of the record.
    """
    starts: dict[Kind, np.ndarray] = {}
    symbols = np.array(annotations.symbol)
    for symbol, name in BEATS.items():
        centred = annotations.sample[symbols == symbol] - NUM_SAMPLES // 2
        inside = (centred >= 0) & (centred + NUM_SAMPLES <= num_samples)
        starts["beat", name] = centred[inside]
    spans = list(_spans(annotations, num_samples))
    for note, name in RHYTHMS.items():
        fitting = [start for start, end, of in spans if of == note and start + NUM_SAMPLES <= end]
        starts["rhythm", name] = np.array(fitting, np.int64)
    return starts


def _spans(annotations: Annotations, num_samples: int) -> Iterator[tuple[int, int, str]]:
    """Start, end and note of every rhythm; it ends with `)`, another rhythm, or the record."""
    notes = [(int(annotations.sample[i]), note) for i, note in enumerate(annotations.note) if note]
    marks = [(at, note.upper()) for at, note in notes if note.startswith(("(", _RHYTHM_END))]
    ends = [*(at for at, _ in marks), num_samples][1:]
    for (start, note), end in zip(marks, ends, strict=True):
        yield start, min(end, num_samples), note


def _is_usable(source: pathlib.Path, window: Entry) -> bool:
    try:
        recording = read(source, window)
    except Defect:
        return True  # it will be read again, and then it is reported
    usable, _ = quality.check(recording, window.record_id, "arbitrary")
    return bool(usable.any())


class _Drawn:
    """Windows drawn from the segments of one patient."""

    def __init__(self, source: pathlib.Path, max_windows: int, generator: np.random.Generator):
        self.generator = generator
        self.num_passed_over = 0
        self._source = source
        self._max_windows = max_windows
        self._drawn: dict[Kind, list[tuple[int, Entry, int]]] = {kind: [] for kind in KINDS}
        self._num_segments = collections.Counter[Kind]()

    def add(self, segment: Entry, starts: dict[Kind, np.ndarray]) -> None:
        """Draws windows of each kind that hold a signal and do not overlap others of their kind."""
        for kind in KINDS:
            rest = self._from_usable(segment, self.generator.permutation(starts[kind]))
            self._num_segments[kind] += len(rest) > 0
            for rank in range(self._max_windows):
                if not len(rest):
                    break
                self._drawn[kind].append((rank, segment, int(rest[0])))
                apart = rest[np.abs(rest - rest[0]) >= NUM_SAMPLES]
                rest = self._from_usable(segment, apart)

    def _from_usable(self, segment: Entry, starts: np.ndarray) -> np.ndarray:
        """The starts from the first whose window holds a signal; all of them if none of the first
        does, so that the report has a reason."""
        for number, start in enumerate(starts[:_MAX_TRIES].tolist()):
            if _is_usable(self._source, segment.window(start, NUM_SAMPLES)):
                self.num_passed_over += number
                return starts[number:]
        return starts

    @property
    def is_full(self) -> bool:
        """Whether every kind can have all its windows from different segments."""
        return all(self._num_segments[kind] >= self._max_windows for kind in KINDS)

    def windows(self) -> list[Entry]:
        """At most so many of each kind, of as many segments as there are, in the order of time.

        A window of a beat and one of a rhythm that are the same samples are one, with both labels.
        """
        labels: dict[tuple[str, int], dict[str, str]] = {}
        segments: dict[str, Entry] = {}
        for label, name in KINDS:
            num_taken = 0
            for _, segment, start in sorted(self._drawn[label, name], key=lambda drawn: drawn[0]):
                known = labels.setdefault((segment.record_id, start), {})
                if num_taken < self._max_windows and label not in known:
                    known[label] = name
                    segments[segment.record_id] = segment
                    num_taken += 1
        return [
            segments[segment].window(start, NUM_SAMPLES, labels=known)
            for (segment, start), known in sorted(labels.items(), key=lambda item: item[0])
            if known
        ]
