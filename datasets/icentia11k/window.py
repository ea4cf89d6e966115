"""Samples windows of a patient's recordings: a limited number of each class of beat and rhythm.

Sampling is random, but the same in every build, because the seed is a hash of the patient id.
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
from clef_jax.errors import counted
from clef_jax.finding import Defect, Finding
from clef_jax.wfdb import (
    annotation as wfdb_annotation,
    header as wfdb_header,
    record as wfdb_record,
)
from clef_jax.wfdb.annotation import Annotations

LEAD = "I"
"""Lead of the patch, whose two electrodes are on the upper chest: a modified lead I."""
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
"""Number of windows of a class and segment that are checked until one has a signal."""

Kind = tuple[str, str]
"""A label and one of its classes."""
KINDS: tuple[Kind, ...] = (
    *(("beat", name) for name in BEATS.values()),
    *(("rhythm", name) for name in RHYTHMS.values()),
)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one window of a segment, whose only signal is named by its lead."""
    path = files.locate(source, entry.path)
    recording = wfdb_record.read(path, entry.start_sample, entry.num_samples)
    names = (LEAD if n.strip().lower() in ("", _SIGNAL) else n for n in recording.lead_names)
    return dataclasses.replace(recording, lead_names=tuple(names))


def windows(source: pathlib.Path, entry: Entry, max_windows: int) -> Iterator[Entry | Finding]:
    """Yields the windows of a patient, and findings about the segments.

    The headers of all segments are read, but annotations only until all classes have enough
    windows.

    Args:
        source: the source folder.
        entry: the patient's folder.
        max_windows: largest number of windows of each class.

    Raises:
        Defect: the patient has no segment, or none of the segments has a labelled window.
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
        segments = counted(len(names), "segment")
        detail = f"The annotations of {num_without} of the patient's {segments} are missing."
        yield Finding(entry.record_id, "missing_annotation", None, detail, "kept")
    sampler = _Sampler(source, max_windows, _generator(entry.patient_id))
    for name in sampler.generator.permutation(list(lengths)).tolist():
        segment = _segment(entry, name)
        try:
            annotations = _read_annotations(source, segment)
        except Defect as defect:
            yield defect.finding(segment.record_id)
            continue
        sampler.add(segment, find_starts(annotations, lengths[name]))
        if sampler.is_full:
            break
    if sampler.num_skipped:
        detail = f"Windows that were skipped because they have no signal: {sampler.num_skipped}."
        yield Finding(entry.record_id, "windows_passed_over", None, detail, "kept")
    sampled = sampler.windows()
    if not sampled:
        detail = f"None of the patient's {counted(len(names), 'segment')} has a labelled window."
        raise Defect("no_window", detail)
    yield from sampled


def _generator(patient_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"windows of {patient_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _segments(source: pathlib.Path, entry: Entry) -> list[str]:
    """Returns the sorted names of a patient's segments, from its RECORDS or else from all headers.

    Raises:
        Defect: the folder does not exist, or has no segments.
    """
    patient = source / entry.path
    if not patient.is_dir():
        raise Defect("missing_file", f"The folder {entry.path} does not exist.")
    lines = []
    if (patient / _RECORDS).is_file():
        text = (patient / _RECORDS).read_text(encoding="utf-8-sig", errors="replace")
        lines = [pathlib.PurePosixPath(line.strip()).name for line in text.splitlines()]
    listed = {line.removesuffix(".hea") for line in lines} - {""}
    names = listed or {path.stem for path in patient.glob("*.hea")}
    if not names:
        raise Defect("missing_file", f"The folder {entry.path} has no segments.")
    return sorted(names)


def _segment(entry: Entry, name: str) -> Entry:
    return dataclasses.replace(entry, record_id=f"{entry.path}/{name}")


def _measure(source: pathlib.Path, segment: Entry) -> int:
    """Returns the number of samples of a segment.

    Raises:
        Defect: the segment has another rate or is truncated, or a file is missing.
    """
    path = files.locate(source, segment.path, _EXTENSIONS)
    header = wfdb_header.read(path)
    if {header.frame_rate_hz, header.sample_rate_hz} != {
        SAMPLE_RATE_HZ
    }:  # annotations count frames
        detail = f"The rate is {header.sample_rate_hz:g} Hz instead of {SAMPLE_RATE_HZ:g} Hz."
        raise Defect("wrong_rate", detail)
    return wfdb_record.count_samples(path, header)


def _read_annotations(source: pathlib.Path, segment: Entry) -> Annotations:
    """Returns the annotations of a segment.

    Raises:
        Defect: they cannot be read, or are timed at another rate.
    """
    annotations = wfdb_annotation.read(files.locate(source, segment.path, _EXTENSIONS))
    if annotations.time_resolution_hz not in (None, SAMPLE_RATE_HZ):
        rate = f"{annotations.time_resolution_hz:g} Hz instead of {SAMPLE_RATE_HZ:g} Hz"
        raise Defect("wrong_rate", f"The annotations are timed at {rate}.")
    return annotations


def _has_annotations(source: pathlib.Path, segment: Entry) -> bool:
    """Returns whether a segment has annotations; if not, the source has no file or an empty one."""
    stem = files.locate(source, segment.path, _EXTENSIONS)
    file = stem.with_name(f"{stem.name}.atr")
    return file.is_file() and file.stat().st_size > _END_MARK_BYTES


def find_starts(annotations: Annotations, num_samples: int) -> dict[Kind, np.ndarray]:
    """Returns the possible first samples of windows of each kind, int64 arrays.

    A window of a beat has the beat at its centre. A window of a rhythm begins with the rhythm's
    annotation and ends before the rhythm does. All windows are inside the record.

    Args:
        annotations: annotations of a segment.
        num_samples: length of the segment in samples.
    """
    starts: dict[Kind, np.ndarray] = {}
    symbols = np.array(annotations.symbol)
    for symbol, name in BEATS.items():
        centred = annotations.sample[symbols == symbol] - NUM_SAMPLES // 2
        inside = (centred >= 0) & (centred + NUM_SAMPLES <= num_samples)
        starts["beat", name] = centred[inside]
    spans = list(_spans(annotations, num_samples))
    for note, name in RHYTHMS.items():
        of_rhythm = [(start, end) for start, end, span_note in spans if span_note == note]
        fitting = [start for start, end in of_rhythm if start + NUM_SAMPLES <= end]
        starts["rhythm", name] = np.array(fitting, np.int64)
    return starts


def _spans(annotations: Annotations, num_samples: int) -> Iterator[tuple[int, int, str]]:
    """Yields start, end and note of each rhythm, which `)`, another rhythm or the record ends."""
    notes = [(int(annotations.sample[i]), note) for i, note in enumerate(annotations.note) if note]
    marks = [(start, note.upper()) for start, note in notes if note[0] in ("(", _RHYTHM_END)]
    ends = [*(start for start, _ in marks), num_samples][1:]
    for (start, note), end in zip(marks, ends, strict=True):
        yield start, min(end, num_samples), note


def _is_usable(source: pathlib.Path, window: Entry) -> bool:
    try:
        recording = read(source, window)
    except Defect:
        return True  # reading the window again reports the defect
    usable, _ = quality.check(recording, window.record_id, "arbitrary")
    return bool(usable.any())


class _Sampler:
    """Samples windows from the segments of one patient."""

    def __init__(self, source: pathlib.Path, max_windows: int, generator: np.random.Generator):
        self.generator = generator
        self.num_skipped = 0
        self._source = source
        self._max_windows = max_windows
        self._sampled: dict[Kind, list[tuple[int, Entry, int]]] = {kind: [] for kind in KINDS}
        self._num_segments = collections.Counter[Kind]()

    def add(self, segment: Entry, starts: dict[Kind, np.ndarray]) -> None:
        """Samples windows of each kind that have a signal and do not overlap others of the kind."""
        for kind in KINDS:
            rest = self._from_usable(segment, self.generator.permutation(starts[kind]))
            self._num_segments[kind] += len(rest) > 0
            for rank in range(self._max_windows):
                if not len(rest):
                    break
                self._sampled[kind].append((rank, segment, int(rest[0])))
                disjoint = rest[np.abs(rest - rest[0]) >= NUM_SAMPLES]
                rest = self._from_usable(segment, disjoint)

    def _from_usable(self, segment: Entry, starts: np.ndarray) -> np.ndarray:
        """Returns the starts from the first whose window has a signal.

        Returns all starts if none of the first `_MAX_TRIES` has a signal, so that the build reports
        the reason.
        """
        for number, start in enumerate(starts[:_MAX_TRIES].tolist()):
            if _is_usable(self._source, segment.window(start, NUM_SAMPLES)):
                self.num_skipped += number
                return starts[number:]
        return starts

    @property
    def is_full(self) -> bool:
        """Whether each kind has as many segments as windows are requested."""
        return all(self._num_segments[kind] >= self._max_windows for kind in KINDS)

    def windows(self) -> list[Entry]:
        """Returns at most `max_windows` of each kind, from as many segments as possible, by time.

        A window of a beat and one of a rhythm with the same samples become one with both labels.
        """
        labels: dict[tuple[str, int], dict[str, str]] = {}
        segments: dict[str, Entry] = {}
        for label, name in KINDS:
            num_taken = 0
            for _, segment, start in sorted(self._sampled[label, name], key=lambda item: item[0]):
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
