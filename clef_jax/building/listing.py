"""The work list of a build: which recordings there are, and which shard each goes into."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clef_jax.building.clinical import Scorer
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.data.record import Observed
from clef_jax.finding import Finding

PRETRAINING_SPLITS = {TRAIN: 980, VALIDATION: 20}
"""Per mille of the patients; pre-training has no test set."""
DOWNSTREAM_SPLITS = {TRAIN: 700, VALIDATION: 100, TEST: 200}

MIN_SHARD_RECORDS = 32
MAX_SHARD_RECORDS = 512
MAX_SHARDS = 512
"""Above this number shards grow, because readers keep every shard open."""
_WANTED_SHARDS = 32
"""Small data sets are cut so finely that every worker gets some."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One recording to read."""

    record_id: str
    """Names the recording for good; a window of one is called RECORD@START."""
    patient_id: str
    source_record: str = ""
    """The recording that a window is of, and by default the record id: its path in the source."""
    start_sample: int = 0
    """Where a window begins in it."""
    num_samples: int | None = None
    """How long a window is; None is the whole recording."""
    recorded_at: str = ""
    """ISO 8601, or empty."""
    observed: Observed = Observed()
    risk: float = math.nan
    """The risk, if the source gives it ready-made; otherwise the listing's scorer computes it."""
    completeness: float = 0.0
    risk_extrapolated: bool = False
    split: str | None = None
    """The split that the source prescribes; None for the listing's own by patient."""
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """By the names of the layout's labels; what is not here is missing."""

    @property
    def path(self) -> str:
        """The recording's path in the source folder, without extension."""
        return self.source_record or self.record_id

    def window(self, start_sample: int, num_samples: int, **changes: Any) -> "Entry":
        """A window of this recording."""
        return dataclasses.replace(
            self,
            record_id=f"{self.path}@{start_sample}",
            source_record=self.path,
            start_sample=start_sample,
            num_samples=num_samples,
            **changes,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """All recordings of a source, and what is known about them before any is read."""

    entries: Iterable[Entry]
    """A patient's entries together, earliest first. May be a stream: it is read once."""
    num_records: int
    num_patients: int
    splits: Mapping[str, int] = dataclasses.field(default_factory=lambda: PRETRAINING_SPLITS)
    """The splits to expect, and per mille of the patients that a hash deals to each; entries may
    prescribe another. A patient whose entries prescribe several goes to the first of them."""
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """The classes of labels, where the source decides which there are."""
    scorer: Scorer | None = None
    findings: tuple[Finding, ...] = ()
    """Recordings that are not among the entries, and why."""
    clinical_source: str = "none"
    """Where the clinical values come from, in words, without paths."""
    coverage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Lines of the summary: how many patients have which clinical value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardAssignment:
    """The recordings of one shard."""

    number: int
    split: str
    patients: tuple[tuple[Entry, ...], ...]
    findings: tuple[Finding, ...] = ()

    @property
    def num_records(self) -> int:
        return sum(map(len, self.patients))


def split_of(patient_id: str, splits: Mapping[str, int] = PRETRAINING_SPLITS) -> str:
    """The split that a patient belongs to, the same for ever and everywhere.

    Args:
        splits: per mille of the patients for each split; the last ones get the lowest hashes.
    """
    digest = hashlib.sha256(patient_id.encode()).digest()
    per_mille = int.from_bytes(digest[:8], "big") % 1000
    names = list(splits)[::-1]
    ends = itertools.accumulate(splits[name] for name in names)
    return next(name for name, end in zip(names, ends, strict=True) if per_mille < end)


def shard_records(num_records: int) -> int:
    """How many records a shard should hold."""
    wanted = math.ceil(num_records / _WANTED_SHARDS)
    least = math.ceil(num_records / MAX_SHARDS)
    return max(least, min(MAX_SHARD_RECORDS, max(MIN_SHARD_RECORDS, wanted)))


@dataclasses.dataclass
class _Open:
    """A share that still takes patients."""

    patients: list[tuple[Entry, ...]] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    filled: int = 0


def shares(
    listing: Listing, *, one_per_patient: bool = False, splits_as_given: bool = False
) -> Iterator[ShardAssignment]:
    """Deals the patients out to shards, in order, as a stream; patients are never divided.

    Args:
        one_per_patient: count a patient as one recording when sizing shards.
        splits_as_given: leave a patient in several splits if the source says so.
    """
    size = shard_records(listing.num_patients if one_per_patient else listing.num_records)
    numbers = itertools.count()
    opened: dict[str, _Open] = {}
    for patient_id, group in itertools.groupby(listing.entries, key=lambda e: e.patient_id):
        by_split, findings = _by_split(tuple(group), patient_id, listing, splits_as_given)
        for split, patient in by_split.items():
            share = opened.setdefault(split, _Open())
            share.patients.append(patient)
            share.findings += [finding for finding, of in findings if of == split]
            share.filled += 1 if one_per_patient else len(patient)
            if share.filled >= size:
                yield _share(next(numbers), split, opened.pop(split))
    for split, share in sorted(opened.items()):
        yield _share(next(numbers), split, share)


def _share(number: int, split: str, share: _Open) -> ShardAssignment:
    return ShardAssignment(
        number=number,
        split=split,
        patients=tuple(share.patients),
        findings=tuple(share.findings),
    )


def _by_split(
    patient: tuple[Entry, ...], patient_id: str, listing: Listing, splits_as_given: bool
) -> tuple[dict[str, tuple[Entry, ...]], list[tuple[Finding, str]]]:
    """A patient's entries by split, and what is to be told about it in which split."""
    usual = split_of(patient_id, listing.splits)
    wanted = [entry.split or usual for entry in patient]
    order = [*listing.splits, *wanted]
    first = min(set(wanted), key=order.index)
    if len(set(wanted)) == 1:
        return {first: patient}, []
    findings = []
    for entry, split in zip(patient, wanted, strict=True):
        if split != first:
            end = "was left where it is" if splits_as_given else f"went to {first}"
            detail = f"It is of split {split}, but its patient is in {first} too; it {end}."
            finding = Finding(entry.record_id, "patient_in_several_splits", None, detail, "kept")
            findings.append((finding, split if splits_as_given else first))
    if not splits_as_given:
        return {first: patient}, findings
    kept = {s: tuple(e for e, w in zip(patient, wanted, strict=True) if w == s) for s in wanted}
    return kept, findings
