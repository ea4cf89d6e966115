"""Reads, checks and writes the recordings of one shard.

A shard is a pure function of its task, so any process on any machine may write it. The memory
needed does not depend on the number of recordings of the data set.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from clef_jax.building import clinical
from clef_jax.building.clinical import Scored, Scorer
from clef_jax.building.listing import Entry, ShardAssignment
from clef_jax.building.settings import Compression
from clef_jax.data import index, quality, record
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding, catch_failures, encodable

_CODECS: dict[Compression, str] = {
    # With level 9, records are an eighth smaller and read an eighth faster, but take four times as
    # long to write, which even a hundred epochs do not compensate.
    "zstd": "zstd:1",
    "none": "uncompressed",
}

Read = Callable[[pathlib.Path, Entry], record.Recording]
"""Reads a recording or window of a source folder; raises `finding.Defect`. A module-level
function."""

Files = Callable[[Entry], Iterable[str]]
"""Returns patterns of the files that reading a listed recording may open, as paths in the source
folder. A module-level function."""

Windows = Callable[[pathlib.Path, Entry, int], Iterable[Entry | Finding]]
"""Returns the windows of a listed recording to store, at most the given number of each class, and
findings about it; raises `finding.Defect`. A module-level function."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Everything that a worker needs to write one shard."""

    assignment: ShardAssignment
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
    """Whether to store only each patient's earliest usable recording."""
    compression: Compression = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Summary of a written shard; arrays have one row per stored record.

    Shapes: n stored records, L leads.
    """

    split: str
    path: str
    num_listed: int
    num_read: int
    num_bytes: int
    digest: bytes
    """SHA-256 of the stored records."""
    findings: tuple[Finding, ...]
    patient_counts: tuple[int, ...]
    """Number of stored records of each stored patient."""
    label_counts: dict[str, dict[str, int]]
    """Number of stored records by label and class; known numbers have the class ""."""
    columns: dict[str, np.ndarray]
    """risk, completeness, usable_leads [n] (bit mask), sample_rate_hz, num_samples [n] or [1];
    gain_per_mv, baseline [n, L] or [1, L]."""
    kept: bool = False
    """Whether an earlier, interrupted build wrote the shard."""

    @property
    def num_stored(self) -> int:
        return sum(self.patient_counts)

    @property
    def num_quarantined(self) -> int:
        return sum(finding.action == "quarantined" for finding in self.findings)


@dataclasses.dataclass(frozen=True)
class CheckedRecording:
    """A recording that was read and checked."""

    findings: tuple[Finding, ...]
    example: dict[str, Any] | None
    """The TFDS example of the recording; None if it is not usable."""
    num_read: int = 1
    """1, or 0 if the findings are about a recording that was not read."""


def check_recordings(task: Task) -> Iterator[CheckedRecording]:
    """Yields the recordings of a shard, patient by patient, read and checked."""
    if task.assignment.findings:
        yield CheckedRecording(task.assignment.findings, None, num_read=0)
    patients = [[_plausible(entry) for entry in patient] for patient in task.assignment.patients]
    scored = iter(_score(task, [entry for patient in patients for entry in patient]))
    for patient in patients:
        has_usable = False
        for entry in patient:
            risk = next(scored)
            if has_usable and task.one_per_patient:
                continue
            if entry.findings:
                yield CheckedRecording(entry.findings, None, num_read=0)
            for window in _windows(task, entry):
                if isinstance(window, Finding):
                    yield CheckedRecording((window,), None, num_read=0)
                    continue
                checked = _check_recording(task, window, risk)
                has_usable |= checked.example is not None
                yield checked


def _plausible(entry: Entry) -> Entry:
    """Returns the entry without implausible clinical values, which it reports instead."""
    names = clinical.implausible(entry.observed)
    if not names:
        return entry
    findings = clinical.implausible_findings(entry.record_id, names)
    return dataclasses.replace(
        entry,
        observed=clinical.without(entry.observed, names),
        findings=(*entry.findings, *findings),
    )


def _windows(task: Task, entry: Entry) -> Iterator[Entry | Finding]:
    if task.windows is None:
        yield entry
        return
    try:
        with catch_failures(entry.path):
            windows = iter(task.windows(pathlib.Path(task.source), entry, task.max_windows))
        while True:
            with catch_failures(entry.path):
                window = next(windows, None)
            if window is None:
                return
            yield window
    except Defect as defect:
        yield defect.finding(entry.record_id)


def _score(task: Task, entries: list[Entry]) -> Iterator[dict[str, Any]]:
    """Yields the risk features of each entry, from the scorer or as the source states them."""
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


def _check_recording(task: Task, entry: Entry, risk: dict[str, Any]) -> CheckedRecording:
    try:
        with catch_failures(entry.path):
            recording = task.read(pathlib.Path(task.source), entry)
            recording = quality.arrange(recording, task.layout)
            usable, findings = quality.check(recording, entry.record_id, task.layout.amplitude)
    except Defect as defect:
        return CheckedRecording((defect.finding(entry.record_id),), None)
    if not usable.any():
        return CheckedRecording(tuple(findings), None)
    example = {
        "signal": recording.signal,
        "gain_per_mv": recording.gain_per_mv,
        "baseline": recording.baseline,
        "sample_rate_hz": np.float32(recording.sample_rate_hz),
        "lead_names": list(recording.lead_names),
        "usable_leads": usable,
        "patient_id": encodable(entry.patient_id),
        "record_id": encodable(entry.record_id),
        "source_record": encodable(entry.path),
        "start_sample": entry.start_sample,
        "recorded_at": entry.recorded_at,
        **{name: np.float32(getattr(entry.observed, name)) for name in record.OBSERVED_NAMES},
        **risk,
        **record.label_values(task.layout, entry.labels),
    }
    return CheckedRecording(tuple(findings), example)


@dataclasses.dataclass(frozen=True)
class Examples:
    """The usable recordings of a shard for TFDS; a call yields pairs of key and example."""

    task: Task

    def __call__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for checked in check_recordings(self.task):
            if checked.example is not None:
                yield checked.example["record_id"], checked.example


def write(task: Task) -> Summary:
    """Writes one shard and returns its summary. A shard without records is an empty file."""
    findings: list[Finding] = []
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    labels = {label.name: collections.Counter[str]() for label in task.layout.labels}
    digest = hashlib.sha256()
    num_bytes = num_read = 0
    writer = _call(task.path, _open_writer, task)
    for checked in check_recordings(task):
        num_read += checked.num_read
        findings += checked.findings
        if checked.example is None:
            continue
        serialized = record.serialize(checked.example, task.layout)
        _call(task.path, writer.write, serialized)
        digest.update(serialized)
        num_bytes += len(serialized)
        patient = checked.example["patient_id"]
        counts[patient] = counts.get(patient, 0) + 1
        rows.append(_index_row(checked.example))
        for label in task.layout.labels:
            labels[label.name].update(_classes(label, checked.example[label.name]))
    _call(task.path, writer.close)
    return Summary(
        split=task.assignment.split,
        path=task.path,
        num_listed=task.assignment.num_records,
        num_read=num_read,
        num_bytes=num_bytes,
        digest=digest.digest(),
        findings=tuple(findings),
        patient_counts=tuple(counts.values()),
        label_counts={name: dict(sorted(by_class.items())) for name, by_class in labels.items()},
        columns=_columns(rows),
    )


def _open_writer(task: Task) -> Any:
    from array_record.python import (  # has no wheels for Windows
        array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )

    # One record per chunk, for random access; one thread, because each core has a worker.
    options = f"group_size:1,{_CODECS[task.compression]},max_parallelism:1"
    return array_record_module.ArrayRecordWriter(task.path, options)


def _call(path: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function that writes a shard.

    Raises:
        UserError: the shard cannot be written, for example because the disk is full.
    """
    try:
        return function(*arguments)
    except (OSError, RuntimeError) as error:  # the library raises RuntimeError
        reason = str(error).split(";")[0].strip(". ")
        raise UserError(
            f"The shard {path} could not be written: {reason}.", problem="not_written"
        ) from error


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
    """Returns the columns of the rows; those of the ADC have one row if all rows are equal."""
    if not rows:
        return {}
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in index.COMPACT_COLUMNS:
        if (columns[name] == columns[name][:1]).all():
            columns[name] = columns[name][:1]
    return columns
