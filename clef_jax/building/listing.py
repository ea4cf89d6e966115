"""Lists the recordings of a build, and assigns them to splits and shards."""

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
"""Per mille of the patients in each split; pre-training has no test set."""
DOWNSTREAM_SPLITS = {TRAIN: 700, VALIDATION: 100, TEST: 200}
"""Per mille of the patients in each split of data sets without published splits."""

MIN_SHARD_RECORDS = 32
MAX_SHARD_RECORDS = 512
MAX_SHARDS = 512
"""Maximum number of shards, because readers keep every shard open. Shards of larger data sets hold
more than `MAX_SHARD_RECORDS`."""
_WANTED_SHARDS = 32
"""Number of shards of a small data set, so that every worker gets some."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One recording to read."""

    record_id: str
    """Permanent name of the recording; a window of a recording is named RECORD@START."""
    patient_id: str
    source_record: str = ""
    """Path in the source of the recording that a window is from; empty if it is the record id."""
    start_sample: int = 0
    """First sample of a window."""
    num_samples: int | None = None
    """Length of a window in samples; None for the complete recording."""
    recorded_at: str = ""
    """Date and time in ISO 8601; empty if unknown."""
    observed: Observed = Observed()
    risk: float = math.nan
    """Risk that the source states; NaN if the listing's scorer computes it."""
    completeness: float = 0.0
    """Fraction of the risk score's inputs that were observed, if the source states the risk."""
    risk_extrapolated: bool = False
    """Whether the age is outside the score's range, if the source states the risk."""
    split: str | None = None
    """The split that the source prescribes; None to assign the patient to a split by its hash."""
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Values by label name; labels that are not here are missing."""
    findings: tuple[Finding, ...] = ()
    """Findings about the recording's metadata, which are reported if the recording is read."""

    @property
    def path(self) -> str:
        """The recording's path in the source folder, without extension."""
        return self.source_record or self.record_id

    def window(self, start_sample: int, num_samples: int, **changes: Any) -> "Entry":
        """Returns the entry of a window of this recording.

        Args:
            start_sample: first sample of the window.
            num_samples: length of the window in samples.
            changes: further fields of the entry.
        """
        return dataclasses.replace(
            self,
            record_id=f"{self.path}@{start_sample}",
            source_record=self.path,
            start_sample=start_sample,
            num_samples=num_samples,
            findings=(),
            **changes,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """All recordings of a source, with the metadata that its tables state."""

    entries: Iterable[Entry]
    """Entries by patient, each patient's earliest first. It may be a stream, which is read once."""
    num_records: int
    num_patients: int
    splits: Mapping[str, int] = dataclasses.field(default_factory=lambda: PRETRAINING_SPLITS)
    """The expected splits, and per mille of the patients that a hash assigns to each. Entries may
    prescribe another split; if they prescribe several, the patient belongs to the first of them."""
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Classes by label name, of labels whose classes the source defines."""
    scorer: Scorer | None = None
    """Computes the risk; None if the source states it or it is unknown."""
    findings: tuple[Finding, ...] = ()
    """Findings about recordings that are not among the entries."""
    clinical_source: str = "none"
    """Description of the source of the clinical values, without paths."""
    coverage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Lines of the build's summary, for example the number of patients with a clinical value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardAssignment:
    """The recordings that are assigned to one shard."""

    number: int
    split: str
    patients: tuple[tuple[Entry, ...], ...]
    findings: tuple[Finding, ...] = ()

    @property
    def num_records(self) -> int:
        return sum(map(len, self.patients))


def patient_split(patient_id: str, splits: Mapping[str, int] = PRETRAINING_SPLITS) -> str:
    """Returns the split of a patient, which depends on the id and the splits only.

    Args:
        splits: per mille of the patients for each split; the last split has the lowest hashes.
    """
    digest = hashlib.sha256(patient_id.encode("utf-8", "surrogatepass")).digest()
    per_mille = int.from_bytes(digest[:8], "big") % 1000
    names = list(splits)[::-1]
    ends = itertools.accumulate(splits[name] for name in names)
    return next(name for name, end in zip(names, ends, strict=True) if per_mille < end)


def records_per_shard(num_records: int) -> int:
    """Returns the number of records that a shard should hold."""
    wanted = math.ceil(num_records / _WANTED_SHARDS)
    lowest = math.ceil(num_records / MAX_SHARDS)
    return max(lowest, min(MAX_SHARD_RECORDS, max(MIN_SHARD_RECORDS, wanted)))


@dataclasses.dataclass
class _OpenShard:
    """A shard to which patients are still added."""

    patients: list[tuple[Entry, ...]] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    size: int = 0


def assign_shards(
    listing: Listing, *, one_per_patient: bool = False, splits_as_given: bool = False
) -> Iterator[ShardAssignment]:
    """Yields the shards in the order of the listing, each with all records of its patients.

    Args:
        listing: the recordings.
        one_per_patient: whether a patient counts as one recording in the size of shards.
        splits_as_given: whether a patient may be in several splits if the source prescribes it.
    """
    size = records_per_shard(listing.num_patients if one_per_patient else listing.num_records)
    numbers = itertools.count()
    open_shards: dict[str, _OpenShard] = {}
    for patient_id, group in itertools.groupby(listing.entries, key=lambda e: e.patient_id):
        by_split, findings = _by_split(tuple(group), patient_id, listing, splits_as_given)
        for split, patient in by_split.items():
            shard = open_shards.setdefault(split, _OpenShard())
            shard.patients.append(patient)
            shard.findings += [finding for finding, in_split in findings if in_split == split]
            shard.size += 1 if one_per_patient else len(patient)
            if shard.size >= size:
                yield _close(next(numbers), split, open_shards.pop(split))
    for split, shard in sorted(open_shards.items()):
        yield _close(next(numbers), split, shard)


def _close(number: int, split: str, shard: _OpenShard) -> ShardAssignment:
    return ShardAssignment(
        number=number,
        split=split,
        patients=tuple(shard.patients),
        findings=tuple(shard.findings),
    )


def _by_split(
    patient: tuple[Entry, ...], patient_id: str, listing: Listing, splits_as_given: bool
) -> tuple[dict[str, tuple[Entry, ...]], list[tuple[Finding, str]]]:
    """Returns a patient's entries by split, and findings, each with the split it belongs to."""
    default = patient_split(patient_id, listing.splits)
    prescribed = [entry.split or default for entry in patient]
    order = [*listing.splits, *prescribed]
    first = min(set(prescribed), key=order.index)
    if len(set(prescribed)) == 1:
        return {first: patient}, []
    findings = []
    for entry, split in zip(patient, prescribed, strict=True):
        if split != first:
            action = f"stays in {split}" if splits_as_given else f"is stored in {first}"
            detail = (
                f"The source assigns this recording to split {split}, and others of its patient to "
                f"{first}; it {action}."
            )
            finding = Finding(entry.record_id, "patient_in_several_splits", None, detail, "kept")
            findings.append((finding, split if splits_as_given else first))
    if not splits_as_given:
        return {first: patient}, findings
    entries = list(zip(patient, prescribed, strict=True))
    return {s: tuple(e for e, split in entries if split == s) for s in prescribed}, findings
