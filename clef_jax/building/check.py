"""Reads a prepared data set, verifies its bytes and counts its contents: `prepare --check`.

Every stored byte is read once, shard by shard. Only counts are kept in memory.

Shapes: L leads, T time.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import multiprocessing
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.progress

from clef_jax.building import index_writer
from clef_jax.data import index, quality, raw
from clef_jax.data.record import Recording
from clef_jax.errors import counted
from clef_jax.signal.adc import MISSING_ADC

_BLOCK_RECORDS = 32
_AGE_BAND_YEARS = 10


@dataclasses.dataclass(frozen=True)
class _ShardName:
    """One shard of a split, for a worker."""

    version_dir: pathlib.Path
    split: str
    number: int


@dataclasses.dataclass
class Counts:
    """Counts over the recordings of a shard or split."""

    digest: bytes = b""
    """SHA-256 of the bytes of a shard."""
    problem: str = ""
    """The reason why the shard could not be read to its end; empty if it could."""
    num_records: int = 0
    by_value: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Number of recordings by property and value: ("age", "50-59"), ("sex", "male"), ..."""
    by_lead: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Number of recordings by lead and problem."""
    moments: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Number, sum and sum of squares of the values of each numeric label."""
    num_samples: int = 0
    num_missing: int = 0
    num_mismatched: int = 0
    """Number of recordings that differ from what the index states about them."""

    def add(self, other: "Counts") -> None:
        """Adds the counts of other recordings; `digest` and `problem` stay as they are."""
        self.by_value.update(other.by_value)
        self.by_lead.update(other.by_lead)
        for name, moments in other.moments.items():
            self.moments[name] = self.moments.get(name, np.zeros(3)) + moments
        for name in ("num_records", "num_samples", "num_missing", "num_mismatched"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclasses.dataclass
class ScanResult:
    """Contents of a prepared data set."""

    version_dir: pathlib.Path
    metadata: dict[str, Any]
    """Contents of `clef_index.json`."""
    indices: dict[str, index.Index]
    """The index of each split."""
    counts: dict[str, Counts]
    """The counts of each split."""
    damage: list[str]
    """Sentences about shards that differ from what was written."""

    @property
    def intact(self) -> bool:
        """Whether all shards are as they were written."""
        return not self.damage


def scan(
    version_dir: pathlib.Path, console: rich.console.Console, num_workers: int = 1
) -> ScanResult:
    """Reads all shards of a data set and compares them with its index.

    Args:
        version_dir: folder of the data set.
        console: console for the progress bar.
        num_workers: number of processes that read; 1 reads in this process.

    Raises:
        UserError: the folder holds no complete data set.
    """
    metadata = index.read_metadata(version_dir)
    indices = {split: index.load(version_dir, split) for split in metadata["splits"]}
    names = [
        _ShardName(version_dir, split, number)
        for split, split_index in indices.items()
        for number in range(len(split_index.shard_paths))
    ]
    counts: dict[str, Counts] = {split: Counts() for split in indices}
    digests: dict[str, list[bytes]] = {split: [] for split in indices}
    damage: list[str] = []
    scanned = _scan_shards(names, num_workers)
    for name, shard_counts in zip(
        names,
        rich.progress.track(
            scanned, "Reading shards", total=len(names), console=console, transient=True
        ),
        strict=True,
    ):
        counts[name.split].add(shard_counts)
        digests[name.split].append(shard_counts.digest)
        damage += _damage(name, shard_counts, metadata)
    if not damage and index_writer.fingerprint(digests) != metadata["fingerprint"]:
        damage.append(f"The fingerprint in {index.METADATA_FILE} does not match the shards.")
    return ScanResult(version_dir, metadata, indices, counts, damage)


def _scan_shards(names: Sequence[_ShardName], num_workers: int) -> Iterator[Counts]:
    if num_workers == 1:
        yield from map(scan_shard, names)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context) as workers:
        yield from workers.map(scan_shard, names)


def _damage(name: _ShardName, counts: Counts, metadata: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each difference between a shard and the index."""
    split = metadata["splits"][name.split]
    shard = split["shards"][name.number]
    if counts.problem:
        yield f"{shard} cannot be read: {counts.problem}"
    elif counts.digest.hex() != split["shard_digests"][name.number]:
        yield f"The bytes of {shard} differ from those that were written."
    if counts.num_mismatched:
        yield f"{shard} and the index differ in {counted(counts.num_mismatched, 'recording')}."


def scan_shard(name: _ShardName) -> Counts:
    """Returns the counts over the recordings of one shard."""
    import tensorflow_datasets as tfds

    split_index = index.load(name.version_dir, name.split)
    metadata = index.read_metadata(name.version_dir)
    features = tfds.features.FeaturesDict.from_config(str(name.version_dir))
    assert isinstance(features, tfds.features.FeaturesDict)
    first = int(split_index.shard_lengths[: name.number].sum())
    last = first + int(split_index.shard_lengths[name.number])
    reader, counts, digest = raw.Reader(split_index), Counts(), hashlib.sha256()
    try:
        for start in range(first, last, _BLOCK_RECORDS):
            rows = np.arange(start, min(start + _BLOCK_RECORDS, last))
            for row, serialized in zip(rows, reader.records(rows), strict=True):
                digest.update(serialized)
                example: Any = features.deserialize_example_np(serialized)
                _count(counts, example, metadata, split_index, int(row))
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        counts.problem = f"{str(error).splitlines()[0]}."
    counts.digest = digest.digest()
    return counts


def _count(
    counts: Counts,
    example: dict[str, Any],
    metadata: dict[str, Any],
    split_index: index.Index,
    row: int,
) -> None:
    """Adds one recording to the counts."""
    recording = Recording(
        signal=example["signal"],
        lead_names=split_index.lead_names,
        gain_per_mv=example["gain_per_mv"],
        baseline=example["baseline"],
        sample_rate_hz=float(example["sample_rate_hz"]),
    )
    usable, findings = quality.check(recording, "", metadata["amplitude"])
    missing = recording.signal == MISSING_ADC
    counts.num_records += 1
    counts.num_samples += missing.size
    counts.num_missing += int(missing.sum())
    counts.by_lead.update({(f.lead or "", f.problem) for f in findings})
    counts.by_lead.update((lead, "unusable") for lead in np.array(recording.lead_names)[~usable])
    counts.by_value["rate", f"{recording.sample_rate_hz:g} Hz"] += 1
    seconds = recording.signal.shape[1] / recording.sample_rate_hz
    counts.by_value["length", _length_band(seconds)] += 1
    counts.by_value["age", _age_band(float(example["age_years"]))] += 1
    sex = {1.0: "male", 0.0: "female"}.get(float(example["male"]), "unknown")
    counts.by_value["sex", sex] += 1
    for label in metadata["labels"]:
        if label["kind"] == "number" and not np.isnan(value := float(example[label["name"]])):
            before = counts.moments.get(label["name"], np.zeros(3))
            counts.moments[label["name"]] = before + np.array([1, value, value**2])
    same = (
        np.array_equal(usable, split_index.usable_leads[row])
        and np.array_equal(example["usable_leads"], usable)
        and np.array_equal(np.float32(example["risk"]), split_index.risk[row], equal_nan=True)
    )
    counts.num_mismatched += not same


def _age_band(age_years: float) -> str:
    if np.isnan(age_years):
        return "unknown"
    low = int(age_years // _AGE_BAND_YEARS * _AGE_BAND_YEARS)
    return f"{low}-{low + _AGE_BAND_YEARS - 1}" if low < 90 else "90+"


def _length_band(seconds: float) -> str:
    """Returns a length as text: whole seconds exactly, others between two whole seconds."""
    return f"{seconds:g} s" if seconds == int(seconds) else f"{int(seconds)}-{int(seconds) + 1} s"
