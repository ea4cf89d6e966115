"""Counts the recordings of a build while it runs, and prints them as tables when it ends."""

import collections
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import rich.table

from clef_jax.building.shard import Summary
from clef_jax.errors import counted
from clef_jax.finding import Finding

QUALITY_FILE = "quality.jsonl"


@dataclasses.dataclass
class BuildSummary:
    """Counts of one build."""

    num_listed: int
    """Number of recordings that the source folder lists."""
    num_patients_listed: int
    num_in_source: int | None = None
    """Number of recordings of the complete source, as published; None if it is not published."""
    num_done: int = 0
    """Number of listed recordings whose shard is complete."""
    num_read: int = 0
    num_quarantined: int = 0
    num_kept: int = 0
    """Number of listed recordings of shards that an interrupted build had completed."""
    num_bytes: int = 0
    """Size of the shards on disk in bytes."""
    problems: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Number of findings by problem and action."""
    splits: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Number of records and of patients of each split."""
    num_known_risk: int = 0
    """Number of stored records whose risk is known."""
    clinical_source: str = "none"
    coverage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    """Sentences that the user should read."""
    started: float = dataclasses.field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def num_stored(self) -> int:
        return sum(records for records, _ in self.splits.values())

    def add(self, summary: Summary, stream: IO[str]) -> None:
        """Counts a complete shard and writes its findings, one JSON line each."""
        self.num_done += summary.num_listed
        self.num_read += 0 if summary.kept else summary.num_read
        self.num_kept += summary.num_listed if summary.kept else 0
        self.seconds = time.monotonic() - self.started
        self.add_findings(summary.findings, stream)
        if summary.num_stored:
            records, patients = self.splits.get(summary.split, (0, 0))
            self.splits[summary.split] = (
                records + summary.num_stored,
                patients + len(summary.patient_counts),
            )
            self.num_known_risk += int((summary.columns["risk"] >= 0).sum())

    def add_findings(self, findings: tuple[Finding, ...], stream: IO[str]) -> None:
        """Counts findings and writes them, one JSON line each."""
        for finding in findings:
            self.problems[finding.problem, finding.action] += 1
            self.num_quarantined += finding.action == "quarantined"
            stream.write(finding.to_json() + "\n")


Watch = Callable[[BuildSummary], None]
"""A function that is called with the counts so far after each shard."""


def tables(summary: BuildSummary, version_dir: pathlib.Path) -> Iterator[rich.table.Table | str]:
    """Yields the tables and lines that the command prints."""
    contents = rich.table.Table(title=f"Prepared {version_dir}", show_header=False)
    rate = summary.num_read / max(summary.seconds, 1e-9)
    contents.add_row("recordings listed", f"{summary.num_listed:,}")
    contents.add_row("patients listed", f"{summary.num_patients_listed:,}")
    if summary.num_in_source not in (None, summary.num_listed):
        contents.add_row("recordings in the complete source", f"{summary.num_in_source:,}")
    contents.add_row(
        "recordings read", f"{summary.num_read:,} in {summary.seconds:.1f} s, {rate:.0f}/s"
    )
    if summary.num_kept:
        contents.add_row("recordings kept from an interrupted build", f"{summary.num_kept:,}")
    contents.add_row("recordings quarantined", f"{summary.num_quarantined:,}")
    for split, (records, patients) in summary.splits.items():
        contents.add_row(
            f"split {split}", f"{counted(records, 'recording')} of {counted(patients, 'patient')}"
        )
    contents.add_row("patients without any usable recording", f"{_num_patients_lost(summary):,}")
    contents.add_row("size on disk", f"{summary.num_bytes / 1e6:,.1f} MB")
    contents.add_row("clinical source", summary.clinical_source)
    for name, value in summary.coverage.items():
        contents.add_row(name, value)
    known = summary.num_known_risk / max(summary.num_stored, 1)
    contents.add_row(
        "recordings with known risk", f"{summary.num_known_risk:,} ({100 * known:.1f} %)"
    )
    yield contents
    findings = rich.table.Table("problem", "action", "number", title="Quality")
    for (problem, action), count in sorted(summary.problems.items()):
        findings.add_row(problem, action, f"{count:,}")
    if summary.problems:
        yield findings
    yield f"All findings are listed in {version_dir / QUALITY_FILE}"
    yield from summary.notes


def _num_patients_lost(summary: BuildSummary) -> int:
    return summary.num_patients_listed - sum(patients for _, patients in summary.splits.values())
