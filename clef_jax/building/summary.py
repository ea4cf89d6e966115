"""What a build did: counted while it runs, shown when it ends."""

import collections
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import rich.table

from clef_jax.building.shard import Summary
from clef_jax.finding import Finding

QUALITY_FILE = "quality.jsonl"


@dataclasses.dataclass
class BuildSummary:
    """Counts of one build."""

    num_listed: int
    """Recordings that the source lists."""
    num_patients_listed: int
    num_in_source: int | None = None
    """Recordings that the whole source lists, as published."""
    num_done: int = 0
    """Listed recordings whose shard is finished."""
    num_read: int = 0
    num_quarantined: int = 0
    num_kept: int = 0
    """Recordings of shards that an earlier build had finished."""
    num_bytes: int = 0
    """Size of the shards on disk."""
    problems: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """How often which problem led to which action."""
    splits: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Records and patients of each split."""
    num_known_risk: int = 0
    """Stored records whose risk is known."""
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
        """Counts a finished shard and writes its findings, one JSON line each."""
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
        for finding in findings:
            self.problems[finding.problem, finding.action] += 1
            self.num_quarantined += finding.action == "quarantined"
            stream.write(finding.to_json() + "\n")


Watch = Callable[[BuildSummary], None]
"""Is called after every shard; the report then says how far the build is."""


def tables(report: BuildSummary, version_dir: pathlib.Path) -> Iterator[rich.table.Table | str]:
    """The summary that a command prints."""
    facts = rich.table.Table(title=f"Prepared {version_dir}", show_header=False)
    rate = report.num_read / max(report.seconds, 1e-9)
    facts.add_row("recordings listed", f"{report.num_listed:,}")
    facts.add_row("patients listed", f"{report.num_patients_listed:,}")
    if report.num_in_source not in (None, report.num_listed):
        facts.add_row("recordings in the whole source", f"{report.num_in_source:,}")
    facts.add_row("recordings read", f"{report.num_read:,} in {report.seconds:.1f} s, {rate:.0f}/s")
    if report.num_kept:
        facts.add_row("recordings kept from a stopped build", f"{report.num_kept:,}")
    facts.add_row("recordings quarantined", f"{report.num_quarantined:,}")
    for split, (records, patients) in report.splits.items():
        facts.add_row(f"split {split}", f"{records:,} recordings of {patients:,} patients")
    facts.add_row("patients without any usable recording", f"{_lost(report):,}")
    facts.add_row("size on disk", f"{report.num_bytes / 1e6:,.1f} MB")
    facts.add_row("clinical source", report.clinical_source)
    for name, value in report.coverage.items():
        facts.add_row(name, value)
    known = report.num_known_risk / max(report.num_stored, 1)
    facts.add_row("recordings with known risk", f"{report.num_known_risk:,} ({100 * known:.1f} %)")
    yield facts
    findings = rich.table.Table("problem", "action", "number", title="Quality")
    for (problem, action), count in sorted(report.problems.items()):
        findings.add_row(problem, action, f"{count:,}")
    if report.problems:
        yield findings
    yield f"Every finding is a line of {version_dir / QUALITY_FILE}"
    yield from report.notes


def _lost(report: BuildSummary) -> int:
    return report.num_patients_listed - sum(patients for _, patients in report.splits.values())
