"""Samples recordings of a prepared data set, and embeds them on several leads and with noise.

Up to `MAX_RECORDINGS` recordings are sampled, those of other splits than the training split first.

Shapes: N recordings, M of them with every lead, D features.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.data import index as index_lib, metadata as metadata_lib
from clef_jax.data.index import TRAIN
from clef_jax.embedding import inputs
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.stream import Stream, refuse
from clef_jax.errors import UserError
from clef_jax.formats import Opened
from clef_jax.signal import synthetic_noise

MAX_RECORDINGS = 600
MIN_RECORDINGS = 30
"""Fewer recordings, or patients, are not measured."""
RECORDINGS_OF_A_PATIENT = 2
STABILITY_RECORDINGS = 256
"""Maximum number of recordings that are embedded on other leads and with noise."""
OTHER_LEADS = ("II", "V2", "V5")
NOISE_MV = (0.05, 0.1, 0.2)
"""Standard deviations of the noise that is added."""
_NOISE_SECONDS = 60.0

Position = tuple[str, int]
"""A split's name, and the position of a recording in the split."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Embeddings on one lead, and on other leads or with noise."""

    dataset: str
    lead: str
    embedding: np.ndarray
    """float64 [N, D], of unit length."""
    patient: np.ndarray
    """int [N], a number for each patient."""
    risk: np.ndarray
    """[N], the clinical risk as a fraction; NaN where unknown."""
    age_years: np.ndarray
    """[N], NaN where unknown."""
    male: np.ndarray
    """[N], 1 for men and 0 for women; NaN where unknown."""
    label: np.ndarray
    """str [N], the first stored class of the recording; empty where there is none."""
    label_name: str
    """Name of the label that `label` comes from; empty if the data set stores no classes."""
    in_training_split: np.ndarray
    """bool [N]."""
    variants: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """The recordings int [M] and their embeddings [M, D], by the lead or the noise."""


def take(
    encoder: Encoder,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    seed: int = 0,
) -> Sample:
    """Samples recordings and embeds them on a lead, and some on other leads and with noise.

    Args:
        splits: indexes of the splits of one data set.
        features: columns of the layer among the features of all layers.
        seed: selects the patients and the noise.

    Raises:
        UserError: the data set has no such lead, or too few recordings of it.
    """
    positions = list(_choose(splits, lead, encoder, seed))
    index = next(iter(splits.values()))
    if len(positions) < MIN_RECORDINGS:
        raise UserError(
            f"Only {len(positions)} recordings of {index.dataset} have a usable lead {lead} of "
            f"{encoder.recipe.window_seconds:g} seconds; the geometry needs {MIN_RECORDINGS}."
        )
    embed = functools.partial(_embed, encoder, features, splits)
    metadata = [
        record
        for split, rows in _by_split(positions)
        for record in metadata_lib.read_records(splits[split], np.array(rows))
    ]
    label = _label_name(index)
    patients = [f"{split} {splits[split].patient[row]}" for split, row in positions]
    return Sample(
        dataset=index.dataset,
        lead=lead,
        embedding=embed(positions, lead),
        patient=np.unique(patients, return_inverse=True)[1],
        risk=np.array([splits[split].risk[row] for split, row in positions], float),
        age_years=np.array([record["age_years"] for record in metadata], float),
        male=np.array([record["male"] for record in metadata], float),
        label=np.array([_first_class(record.get(label)) for record in metadata]),
        label_name=label,
        in_training_split=np.array([split == TRAIN for split, _ in positions]),
        variants=dict(_variants(embed, splits, positions, lead, seed)),
    )


def _choose(
    splits: Mapping[str, index_lib.Index], lead: str, encoder: Encoder, seed: int
) -> Iterator[Position]:
    """Yields up to `MAX_RECORDINGS` usable recordings of random patients.

    The training split comes last; within a split the recordings are sorted.
    """
    rng, num_left = np.random.default_rng(seed), MAX_RECORDINGS
    for split in sorted(splits, key=lambda name: (name == TRAIN, name)):
        index = splits[split]
        needed = np.array([encoder.recipe.num_samples(float(r)) for r in index.sample_rate_hz])
        good = index.usable_leads[:, index.lead_row(lead)] & (index.num_samples >= needed)
        rows: list[int] = []
        for patient in rng.permutation(index.num_patients):
            first, end = index.patient_offset[patient : patient + 2]
            rows += (first + np.flatnonzero(good[first:end])[:RECORDINGS_OF_A_PATIENT]).tolist()
            if len(rows) >= num_left:
                break
        rows = sorted(rows[:num_left])
        num_left -= len(rows)
        yield from ((split, row) for row in rows)


def _by_split(positions: Sequence[Position]) -> Iterator[tuple[str, list[int]]]:
    """Yields each split with the positions of its recordings."""
    for split in dict.fromkeys(split for split, _ in positions):
        yield split, [row for other, row in positions if other == split]


def _label_name(index: index_lib.Index) -> str:
    """Returns the name of the first label that is a class or classes; empty if there is none."""
    labels = index_lib.read_metadata(index.version_dir)["labels"]
    return next((label["name"] for label in labels if label["kind"] in ("class", "classes")), "")


def _first_class(value: Any) -> str:
    if isinstance(value, list):
        value = min(value) if value else b""
    return (value or b"").decode()


def _embed(
    encoder: Encoder,
    features: slice,
    splits: Mapping[str, index_lib.Index],
    positions: Sequence[Position],
    lead: str,
    alter: Callable[[Opened], Opened] = lambda opened: opened,
) -> np.ndarray:
    """Returns the embeddings of recordings, scaled to unit length: float64 [N, D].

    Args:
        features: columns of the layer among the features of all layers.
        alter: changes the recordings before they are embedded.
    """
    stream = Stream(encoder, features, refuse)
    embeddings = []
    for split, rows in _by_split(positions):
        recordings = inputs.stored(splits[split], np.array(rows), lead)
        embeddings += [row.embedding for row in stream(map(alter, recordings))]
    values = np.stack(embeddings).astype(float)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _with_noise(opened: Opened, noise_mv: float, seed: int) -> Opened:
    """Returns a recording with a mixture of wander, electrode and movement noise.

    Args:
        noise_mv: standard deviation of the noise.
        seed: selects the noise together with the recording's name.
    """
    bank = _noise_bank(opened.sample_rate_hz, seed)
    rng = np.random.default_rng([seed, zlib.crc32(opened.name.encode())])
    noise = np.roll(bank[rng.integers(len(bank))], -rng.integers(bank.shape[1]))
    noise = np.resize(noise, opened.num_samples)
    noise *= noise_mv / max(float(noise.std()), 1e-12)

    def read(start: int, num_samples: int) -> np.ndarray:
        added = noise[start : start + num_samples].astype(np.float32)
        return opened.read(start, num_samples) + added[None]

    return dataclasses.replace(opened, read=read)


@functools.lru_cache(maxsize=8)
def _noise_bank(sample_rate_hz: float, seed: int) -> np.ndarray:
    return synthetic_noise.generate(sample_rate_hz, _NOISE_SECONDS, seed)["mixture"]


def _variants(
    embed: Callable[..., np.ndarray],
    splits: Mapping[str, index_lib.Index],
    positions: Sequence[Position],
    lead: str,
    seed: int,
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields the recordings with every other lead, on these leads and with noise.

    Args:
        embed: maps positions and a lead to embeddings of unit length.
    """
    names = next(iter(splits.values())).lead_names
    others = [name for name in OTHER_LEADS if name in names and name != lead]
    have_all_leads = np.array(
        [
            all(splits[s].usable_leads[row, splits[s].lead_names.index(name)] for name in others)
            for s, row in positions
        ]
    )
    numbers = np.flatnonzero(have_all_leads)[:STABILITY_RECORDINGS]
    if not len(numbers):
        return
    chosen = [positions[number] for number in numbers]
    for name in others:
        yield f"lead {name}", (numbers, embed(chosen, name))
    for noise_mv in NOISE_MV:
        alter = functools.partial(_with_noise, noise_mv=noise_mv, seed=seed)
        yield f"noise of {noise_mv:g} mV", (numbers, embed(chosen, lead, alter))
