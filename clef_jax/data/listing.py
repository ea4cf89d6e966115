"""The work list of a build: which recordings there are, and which shard each goes into."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

from clef_jax.data.clinical import Scorer
from clef_jax.data.quality import Finding
from clef_jax.data.record import Observed

TRAIN = "train"
VALIDATION = "validation"
VALIDATION_PER_MILLE = 20

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
    patient_id: str
    recorded_at: str = ""
    """ISO 8601, or empty."""
    observed: Observed = Observed()
    risk: float = math.nan
    """The risk, if the source gives it ready-made; otherwise the listing's scorer computes it."""
    completeness: float = 0.0
    risk_extrapolated: bool = False
    split: str | None = None
    """The split that the source prescribes; None for the usual one by patient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """All recordings of a source, and what is known about them before any is read."""

    entries: Iterable[Entry]
    """A patient's entries together, earliest first. May be a stream: it is read once."""
    num_records: int
    num_patients: int
    scorer: Scorer | None = None
    findings: tuple[Finding, ...] = ()
    """Recordings that are not among the entries, and why."""
    clinical_source: str = "none"
    """Where the clinical values come from, in words, without paths."""
    coverage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Lines of the summary: how many patients have which clinical value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The recordings of one shard."""

    number: int
    split: str
    patients: tuple[tuple[Entry, ...], ...]

    @property
    def num_records(self) -> int:
        return sum(map(len, self.patients))


def split_of(patient_id: str) -> str:
    """The split that a patient belongs to, the same for ever and everywhere."""
    digest = hashlib.sha256(patient_id.encode()).digest()
    per_mille = int.from_bytes(digest[:8], "big") % 1000
    return VALIDATION if per_mille < VALIDATION_PER_MILLE else TRAIN


def shard_records(num_records: int) -> int:
    """How many records a shard should hold."""
    wanted = math.ceil(num_records / _WANTED_SHARDS)
    least = math.ceil(num_records / MAX_SHARDS)
    return max(least, min(MAX_SHARD_RECORDS, max(MIN_SHARD_RECORDS, wanted)))


def shares(listing: Listing, *, one_per_patient: bool) -> Iterator[Share]:
    """Deals the patients out to shards, in order, as a stream; patients are never divided."""
    size = shard_records(listing.num_patients if one_per_patient else listing.num_records)
    numbers = itertools.count()
    open_patients: dict[str, list[tuple[Entry, ...]]] = {}
    filled: dict[str, int] = {}
    for patient_id, entries in itertools.groupby(listing.entries, key=lambda e: e.patient_id):
        patient = tuple(entries)
        split = patient[0].split or split_of(patient_id)
        open_patients.setdefault(split, []).append(patient)
        filled[split] = filled.get(split, 0) + (1 if one_per_patient else len(patient))
        if filled[split] >= size:
            yield _share(next(numbers), split, open_patients.pop(split))
            filled[split] = 0
    for split, patients in sorted(open_patients.items()):
        yield _share(next(numbers), split, patients)


def _share(number: int, split: str, patients: list[tuple[Entry, ...]]) -> Share:
    return Share(number=number, split=split, patients=tuple(patients))
