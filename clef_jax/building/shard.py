"""One shard of a build: reads, checks and writes the recordings of some patients.

A shard is a pure function of its task, so that any process on any machine may do it, and its memory
does not depend on how many recordings the data set has.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from clef_jax.building.clinical import Scored, Scorer
from clef_jax.building.listing import Entry, ShardAssignment
from clef_jax.data import index, quality, record
from clef_jax.finding import Defect, Finding

Compression = Literal["zstd", "none"]
_CODECS: dict[Compression, str] = {
    # Level 9 makes records an eighth smaller and as much faster to read, but takes four times as
    # long to write: a hundred epochs do not make up for it.
    "zstd": "zstd:1",
    "none": "uncompressed",
}

Read = Callable[[pathlib.Path, Entry], record.Recording]
"""Reads one recording, or window, of a source folder; raises `quality.Defect`. A function of a
module."""

Files = Callable[[Entry], Iterable[str]]
"""Patterns of the files that reading a listed recording may open, as paths in the source folder. A
function of a module."""

Windows = Callable[[pathlib.Path, Entry, int], Iterable[Entry | Finding]]
"""The windows to store of one listed recording, at most so many of each kind, and what is to be
told about it; raises `quality.Defect`. A function of a module."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Everything that a worker needs for one shard."""

    share: ShardAssignment
    path: str
    """The file to write."""
    source: str
    """The folder of the raw recordings."""
    layout: record.Layout
    read: Read
    files: Files
    windows: Windows | None = None
    max_windows: int = 1
    scorer: Scorer | None
    one_per_patient: bool
    """Take each patient's earliest usable recording only."""
    compression: Compression = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a shard; arrays have one row per stored record."""

    split: str
    path: str
    num_listed: int
    num_read: int
    num_bytes: int
    digest: bytes
    """SHA-256 of the stored bytes."""
    findings: tuple[Finding, ...]
    patient_counts: tuple[int, ...]
    """Stored records of each stored patient."""
    label_counts: dict[str, dict[str, int]]
    """Stored records of each class of each label; of numbers under "", where there are any."""
    columns: dict[str, np.ndarray]
    """risk, completeness, usable_leads [n] (bit mask), sample_rate_hz, num_samples [n] or [1];
    gain_per_mv, baseline [n, L] or [1, L]."""
    kept: bool = False
    """Whether it was written by an earlier build that was stopped."""

    @property
    def num_stored(self) -> int:
        return sum(self.patient_counts)

    @property
    def num_quarantined(self) -> int:
        return sum(finding.action == "quarantined" for finding in self.findings)


@dataclasses.dataclass(frozen=True)
class Looked:
    """One recording that was looked at: its findings, and its example if it is usable."""

    findings: tuple[Finding, ...]
    example: dict[str, Any] | None
    num_read: int = 1


def look(task: Task) -> Iterator[Looked]:
    """Reads and checks the recordings of a shard, patient by patient."""
    if task.share.findings:
        yield Looked(task.share.findings, None, num_read=0)
    entries = [entry for patient in task.share.patients for entry in patient]
    scored = iter(_score(task, entries))
    for patient in task.share.patients:
        found = False
        for entry in patient:
            risk = next(scored)
            if found and task.one_per_patient:
                continue
            for window in _windows(task, entry):
                if isinstance(window, Finding):
                    yield Looked((window,), None, num_read=0)
                    continue
                looked = _look_at(task, window, risk)
                found |= looked.example is not None
                yield looked


def _windows(task: Task, entry: Entry) -> Iterator[Entry | Finding]:
    if task.windows is None:
        yield entry
        return
    try:
        yield from task.windows(pathlib.Path(task.source), entry, task.max_windows)
    except Defect as defect:
        yield defect.finding(entry.record_id)


def _score(task: Task, entries: list[Entry]) -> Iterator[dict[str, Any]]:
    """The risk features of each entry: from the scorer, or as the source gives them."""
    if task.scorer is not None:
        scored = task.scorer([entry.observed for entry in entries])
    else:
        scored = Scored(
            risk=np.array([entry.risk for entry in entries], np.float32),
            completeness=np.array([entry.completeness for entry in entries], np.float32),
            extrapolated=np.array([entry.risk_extrapolated for entry in entries], bool),
        )
    for risk, completeness, extrapolated in zip(
        scored.risk, scored.completeness, scored.extrapolated, strict=True
    ):
        yield {"risk": risk, "completeness": completeness, "risk_extrapolated": extrapolated}


def _look_at(task: Task, entry: Entry, risk: dict[str, Any]) -> Looked:
    try:
        recording = task.read(pathlib.Path(task.source), entry)
        recording = quality.arrange(recording, task.layout)
    except Defect as defect:
        return Looked((defect.finding(entry.record_id),), None)
    usable, findings = quality.check(recording, entry.record_id, task.layout.amplitude)
    if not usable.any():
        return Looked(tuple(findings), None)
    example = {
        "signal": recording.signal,
        "gain_per_mv": recording.gain_per_mv,
        "baseline": recording.baseline,
        "sample_rate_hz": np.float32(recording.sample_rate_hz),
        "lead_names": list(recording.lead_names),
        "usable_leads": usable,
        "patient_id": entry.patient_id,
        "record_id": entry.record_id,
        "source_record": entry.path,
        "start_sample": entry.start_sample,
        "recorded_at": entry.recorded_at,
        **{name: np.float32(getattr(entry.observed, name)) for name in record.OBSERVED_NAMES},
        **risk,
        **record.label_values(task.layout, entry.labels),
    }
    return Looked(tuple(findings), example)


@dataclasses.dataclass(frozen=True)
class Examples:
    """The usable recordings of a shard as TFDS wants them: called, it yields (key, example)."""

    task: Task

    def __call__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for looked in look(self.task):
            if looked.example is not None:
                yield looked.example["record_id"], looked.example


def write(task: Task) -> Summary:
    """Writes one shard and says what it holds. A shard without records leaves an empty file."""
    findings: list[Finding] = []
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    labels = {label.name: collections.Counter[str]() for label in task.layout.labels}
    digest = hashlib.sha256()
    num_bytes = num_read = 0
    # One record per chunk, for random access; one thread, because there is a worker for each core.
    options = f"group_size:1,{_CODECS[task.compression]},max_parallelism:1"
    writer = array_record_module.ArrayRecordWriter(task.path, options)
    for looked in look(task):
        num_read += looked.num_read
        findings += looked.findings
        if looked.example is None:
            continue
        serialized = record.serialize(looked.example, task.layout)
        writer.write(serialized)
        digest.update(serialized)
        num_bytes += len(serialized)
        patient = looked.example["patient_id"]
        counts[patient] = counts.get(patient, 0) + 1
        rows.append(_index_row(looked.example))
        for label in task.layout.labels:
            labels[label.name].update(_classes(label, looked.example[label.name]))
    writer.close()
    return Summary(
        split=task.share.split,
        path=task.path,
        num_listed=task.share.num_records,
        num_read=num_read,
        num_bytes=num_bytes,
        digest=digest.digest(),
        findings=tuple(findings),
        patient_counts=tuple(counts.values()),
        label_counts={name: dict(sorted(found.items())) for name, found in labels.items()},
        columns=_columns(rows),
    )


def _index_row(example: dict[str, Any]) -> dict[str, Any]:
    mask = sum(1 << lead for lead in np.flatnonzero(example["usable_leads"]))
    names = ("risk", "completeness", "gain_per_mv", "baseline", "sample_rate_hz")
    return {
        **{name: example[name] for name in names},
        "usable_leads": np.uint16(mask),
        "num_samples": np.int64(example["signal"].shape[1]),
    }


def _classes(label: record.Label, value: Any) -> list[str]:
    if label.kind in ("number", "numbers"):
        return [] if not np.size(value) or np.isnan(value).all() else [""]
    return [name for name in ([value] if label.kind == "class" else value) if name]


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Columns of the rows; those of the converter as one row where all are alike."""
    if not rows:
        return {}
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in index.COMPACT_COLUMNS:
        if (columns[name] == columns[name][:1]).all():
            columns[name] = columns[name][:1]
    return columns
