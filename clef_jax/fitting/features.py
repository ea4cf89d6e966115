"""Features of labelled recordings, computed as `embed` computes them.

Shapes: N recordings, D features.
"""

import dataclasses
import threading
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import rich.console
import rich.progress

from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.lead_selection import ReportFinding
from clef_jax.embedding.stream import Stream
from clef_jax.finding import Defect, Finding
from clef_jax.fitting import source as source_lib
from clef_jax.fitting.source import Source
from clef_jax.formats import Opened


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """Properties that a recording states in its file."""

    leads: tuple[str, ...]
    sample_rate_hz: float
    age_years: float
    """NaN where unknown."""
    male: float
    """1 for men and 0 for women; NaN where unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The recordings of a source."""

    recordings: Mapping[str, Listed]
    findings: Mapping[str, Finding]
    """The first finding about each recording or file that cannot be used."""


def list_recordings(source: Source) -> Listing:
    """Opens all recordings once; two recordings of the same name are both refused."""
    findings = Refusals()
    recordings: dict[str, Listed] = {}
    repeated = set()
    for opened in source.open(findings):
        if opened.name in recordings:
            repeated.add(opened.name)
        recordings[opened.name] = _listed(opened)
    for name in repeated:
        del recordings[name]
        findings(Defect("repeated_name", "Several recordings have this name.").finding(name))
    return Listing(recordings=recordings, findings=findings.first)


def _listed(opened: Opened) -> Listed:
    age, male = opened.patient.age_years, opened.patient.male
    return Listed(
        leads=opened.lead_names,
        sample_rate_hz=opened.sample_rate_hz,
        age_years=np.nan if age is None else float(age),
        male=np.nan if male is None else float(male),
    )


class Refusals:
    """Collects the first finding about each recording that cannot be used; from any thread."""

    def __init__(self):
        self.first: dict[str, Finding] = {}
        self._lock = threading.Lock()

    def __call__(self, finding: Finding) -> None:
        if finding.action != "kept":
            with self._lock:
                self.first.setdefault(finding.record_id, finding)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of the recordings that have any."""

    by_name: Mapping[str, np.ndarray]
    """Features, float32 [D], by the name of the recording."""
    leads: Mapping[str, str]
    """Name of the lead, by the name of the recording."""
    findings: Mapping[str, Finding]
    """Why other recordings have none."""


def compute(
    encoder: Encoder,
    part: slice,
    source: Source,
    names: Collection[str],
    lead: str | None,
    console: rich.console.Console | None = None,
) -> Features:
    """Returns the features of the named recordings.

    Args:
        encoder: encoder of the windows.
        part: slice of the features among those of all layers.
        source: recordings; those that are not named are skipped.
        names: names of the recordings.
        lead: lead to use; see `source.with_one_lead`. It is ignored by an encoder of several leads.
        console: shows a progress bar if it is a terminal; by default there is none.
    """
    refusals = Refusals()
    stream = Stream(encoder, part, refusals)
    recordings = selected(source, names, lead, encoder, refusals)
    by_name: dict[str, np.ndarray] = {}
    leads: dict[str, str] = {}
    tracked = rich.progress.track(
        recordings,
        f"Embedding with {encoder.name}",
        total=len(names),
        console=console,
        disable=console is None or not console.is_terminal,
        transient=True,
    )
    for row in stream(iter(tracked)):
        for finding in row.findings:
            refusals(finding)
        if row.usable and np.isfinite(row.embedding).all():
            by_name[row.recording], leads[row.recording] = row.embedding, row.lead
        else:
            detail = "The signal is flat or mostly missing, or has no features."
            refusals(Finding(row.recording, "unusable", row.lead, detail, "quarantined"))
    return Features(by_name=by_name, leads=leads, findings=refusals.first)


def selected(
    source: Source,
    names: Collection[str],
    lead: str | None,
    encoder: Encoder,
    report_finding: ReportFinding = lambda finding: None,
) -> Iterator[Opened]:
    """Yields the named recordings, with one lead unless the encoder takes several.

    Args:
        lead: lead to use; see `source.with_one_lead`.
        report_finding: receives why a recording is left out; by default nothing does.
    """
    wanted = set(names)
    for opened in source.open(lambda finding: None):
        if opened.name not in wanted:
            continue
        if encoder.in_channels > 1:
            yield opened
            continue
        try:
            yield source_lib.with_one_lead(opened, lead, report_finding)
        except Defect as defect:
            report_finding(defect.finding(opened.name))
