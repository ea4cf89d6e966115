"""Reads a prepared data set back and says what it holds: `prepare --check`.

Every stored byte is read once, shard by shard, and nothing is kept of a recording but its share in
the counts.

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
class Part:
    """Counts over some recordings; parts add up."""

    digest: bytes = b""
    problem: str = ""
    """Why the shard could not be read to its end."""
    num_records: int = 0
    counts: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Recordings by what is told and its value: ("age", "50-59"), ("sex", "male"), ..."""
    lead_counts: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Recordings by lead and problem."""
    moments: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Of each numeric label: how many values, their sum, and the sum of their squares."""
    num_samples: int = 0
    num_missing: int = 0
    num_against_index: int = 0
    """Recordings that the index describes otherwise than they are."""

    def add(self, other: "Part") -> None:
        self.counts.update(other.counts)
        self.lead_counts.update(other.lead_counts)
        for name, moments in other.moments.items():
            self.moments[name] = self.moments.get(name, np.zeros(3)) + moments
        for name in ("num_records", "num_samples", "num_missing", "num_against_index"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclasses.dataclass
class ScanResult:
    """What a prepared data set holds."""

    version_dir: pathlib.Path
    metadata: dict[str, Any]
    indices: dict[str, index.Index]
    parts: dict[str, Part]
    """By split."""
    damage: list[str]
    """Sentences about shards that are not what was written."""

    @property
    def intact(self) -> bool:
        return not self.damage


def scan(
    version_dir: pathlib.Path, console: rich.console.Console, num_workers: int = 1
) -> ScanResult:
    """Reads everything.

    Raises:
        UserError: no finished data set is there.
    """
    metadata = index.read_metadata(version_dir)
    indices = {split: index.load(version_dir, split) for split in metadata["splits"]}
    names = [
        _ShardName(version_dir, split, number)
        for split, one in indices.items()
        for number in range(len(one.shard_paths))
    ]
    parts: dict[str, Part] = {split: Part() for split in indices}
    digests: dict[str, list[bytes]] = {split: [] for split in indices}
    damage: list[str] = []
    looked = _look_at_all(names, num_workers)
    for name, part in zip(
        names,
        rich.progress.track(
            looked, "Reading shards", total=len(names), console=console, transient=True
        ),
        strict=True,
    ):
        parts[name.split].add(part)
        digests[name.split].append(part.digest)
        damage += _damage(name, part, metadata)
    if not damage and index_writer.fingerprint(digests) != metadata["fingerprint"]:
        damage.append(f"The fingerprint in {index.METADATA_FILE} is of other data.")
    return ScanResult(version_dir, metadata, indices, parts, damage)


def _look_at_all(names: Sequence[_ShardName], num_workers: int) -> Iterator[Part]:
    if num_workers == 1:
        yield from map(look_at_shard, names)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context) as workers:
        yield from workers.map(look_at_shard, names)


def _damage(name: _ShardName, part: Part, metadata: dict[str, Any]) -> Iterator[str]:
    facts = metadata["splits"][name.split]
    shard = facts["shards"][name.number]
    if part.problem:
        yield f"{shard} cannot be read: {part.problem}"
    elif part.digest.hex() != facts["shard_digests"][name.number]:
        yield f"{shard} holds other bytes than were written."
    if part.num_against_index:
        yield f"{part.num_against_index} recordings of {shard} are not as the index says."


def look_at_shard(name: _ShardName) -> Part:
    """Counts over one shard."""
    import tensorflow_datasets as tfds

    one = index.load(name.version_dir, name.split)
    metadata = index.read_metadata(name.version_dir)
    features = tfds.features.FeaturesDict.from_config(str(name.version_dir))
    assert isinstance(features, tfds.features.FeaturesDict)
    first = int(one.shard_lengths[: name.number].sum())
    last = first + int(one.shard_lengths[name.number])
    reader, part, digest = raw.Reader(one), Part(), hashlib.sha256()
    try:
        for start in range(first, last, _BLOCK_RECORDS):
            rows = np.arange(start, min(start + _BLOCK_RECORDS, last))
            for row, serialized in zip(rows, reader.records(rows), strict=True):
                digest.update(serialized)
                example: Any = features.deserialize_example_np(serialized)
                _count(part, example, metadata, one, int(row))
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        part.problem = f"{str(error).splitlines()[0]}."
    part.digest = digest.digest()
    return part


def _count(
    part: Part, example: dict[str, Any], metadata: dict[str, Any], one: index.Index, row: int
) -> None:
    recording = Recording(
        signal=example["signal"],
        lead_names=one.lead_names,
        gain_per_mv=example["gain_per_mv"],
        baseline=example["baseline"],
        sample_rate_hz=float(example["sample_rate_hz"]),
    )
    usable, findings = quality.check(recording, "", metadata["amplitude"])
    missing = recording.signal == MISSING_ADC
    part.num_records += 1
    part.num_samples += missing.size
    part.num_missing += int(missing.sum())
    part.lead_counts.update({(f.lead or "", f.problem) for f in findings})
    part.lead_counts.update((lead, "unusable") for lead in np.array(one.lead_names)[~usable])
    part.counts["rate", f"{recording.sample_rate_hz:g} Hz"] += 1
    seconds = recording.signal.shape[1] / recording.sample_rate_hz
    part.counts["length", _length_band(seconds)] += 1
    part.counts["age", _age_band(float(example["age_years"]))] += 1
    sex = {1.0: "male", 0.0: "female"}.get(float(example["male"]), "unknown")
    part.counts["sex", sex] += 1
    for label in metadata["labels"]:
        if label["kind"] == "number" and not np.isnan(value := float(example[label["name"]])):
            before = part.moments.get(label["name"], np.zeros(3))
            part.moments[label["name"]] = before + np.array([1, value, value**2])
    same = (
        np.array_equal(usable, one.usable_leads[row])
        and np.array_equal(example["usable_leads"], usable)
        and np.array_equal(np.float32(example["risk"]), one.risk[row], equal_nan=True)
    )
    part.num_against_index += not same


def _age_band(age_years: float) -> str:
    if np.isnan(age_years):
        return "unknown"
    low = int(age_years // _AGE_BAND_YEARS * _AGE_BAND_YEARS)
    return f"{low}-{low + _AGE_BAND_YEARS - 1}" if low < 90 else "90+"


def _length_band(seconds: float) -> str:
    """Exactly, if it is whole seconds; else the whole seconds that it exceeds."""
    return f"{seconds:g} s" if seconds == int(seconds) else f"{int(seconds)}-{int(seconds) + 1} s"
