"""Samples recordings of a prepared data set, and embeds them on several leads and with noise.

At most `MAX_RECORDINGS` recordings are sampled; the training split is used only if the other splits
have fewer.

Shapes: N recordings, M of them with every lead, D features.
"""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.data import index as index_lib, metadata as metadata_lib
from clef_jax.data.index import TRAIN
from clef_jax.embedding import inputs
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.stream import Stream, raise_on_finding
from clef_jax.errors import UserError, counted
from clef_jax.evaluation import linear
from clef_jax.evaluation.feature_source import FeatureSource, Model
from clef_jax.formats import Opened
from clef_jax.signal import synthetic_noise

MAX_RECORDINGS = 600
MIN_RECORDINGS = 30
"""Smallest number of recordings, or of patients, for a measure."""
RECORDINGS_OF_A_PATIENT = 2
"""Maximum number of recordings of a patient."""
STABILITY_RECORDINGS = 256
"""Maximum number of recordings that are embedded on other leads and with noise."""
OTHER_LEADS = ("II", "V2", "V5")
NOISE_MV = (0.05, 0.1, 0.2)
"""Standard deviations of the added noise."""
_NOISE_SECONDS = 60.0
"""Length of the generated noise, which is repeated for longer recordings."""

Position = tuple[str, int]
"""Name of a split, and position of a recording in the split."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Embeddings of recordings on one lead, and of some on other leads and with noise."""

    dataset: str
    lead: str
    embedding: np.ndarray
    """Embeddings on the lead, scaled to unit length, float64 [N, D]."""
    patient: np.ndarray
    """Number of each recording's patient, int [N]."""
    risk: np.ndarray
    """Clinical risk as a fraction, [N]; NaN where unknown."""
    age_years: np.ndarray
    """Age, [N]; NaN where unknown."""
    male: np.ndarray
    """1 for men and 0 for women, [N]; NaN where unknown."""
    label: np.ndarray
    """First stored class of each recording, str [N]; empty where the recording has none."""
    label_name: str
    """Name of the label with these classes; empty if the data set stores no classes."""
    in_training_split: np.ndarray
    """Whether the recording is in the training split, bool [N]."""
    variants: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Numbers of recordings, int [M], and their embeddings on another lead or with noise, [M, D];
    by the name of the lead or the noise."""


def take(
    encoder: Model,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    seed: int = 0,
    cache_dir: pathlib.Path | None = None,
) -> Sample:
    """Samples recordings and embeds them on a lead, and some on other leads and with noise.

    Args:
        encoder: Encoder; a source of features has no embeddings on other leads and with noise.
        splits: Indexes of a data set's splits.
        lead: Name of the lead.
        features: Columns of the layer among the features of all layers.
        seed: Seed of the sampled patients and the noise.
        cache_dir: Folder for cached embeddings, which only a source of features needs.

    Raises:
        UserError: the data set lacks the lead, or has too few recordings with it.
    """
    positions = list(_choose(splits, lead, encoder, seed))
    index = next(iter(splits.values()))
    if len(positions) < MIN_RECORDINGS:
        raise UserError(
            f"{index.dataset} has only {counted(len(positions), 'recording')} with a usable lead "
            f"{lead} and at least {_seconds(encoder):g} seconds; measuring the "
            f"geometry needs {MIN_RECORDINGS}."
        )
    embed = (
        functools.partial(_look_up, encoder, splits, cache_dir)
        if isinstance(encoder, FeatureSource)
        else functools.partial(_embed, encoder, features, splits)
    )
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
        variants={}
        if isinstance(encoder, FeatureSource)
        else dict(_variants(embed, splits, positions, lead, seed)),
    )


def _choose(
    splits: Mapping[str, index_lib.Index], lead: str, encoder: Model, seed: int
) -> Iterator[Position]:
    """Yields at most `MAX_RECORDINGS` usable recordings of random patients.

    The training split comes last. The recordings of a split are sorted.
    """
    rng, num_left = np.random.default_rng(seed), MAX_RECORDINGS
    for split in sorted(splits, key=lambda name: (name == TRAIN, name)):
        index = splits[split]
        needed = np.round(_seconds(encoder) * index.sample_rate_hz.astype(float))
        usable = index.usable_leads[:, index.lead_row(lead)] & (index.num_samples >= needed)
        rows: list[int] = []
        for patient in rng.permutation(index.num_patients):
            first, end = index.patient_offset[patient : patient + 2]
            rows += (first + np.flatnonzero(usable[first:end])[:RECORDINGS_OF_A_PATIENT]).tolist()
            if len(rows) >= num_left:
                break
        rows = sorted(rows[:num_left])
        num_left -= len(rows)
        yield from ((split, row) for row in rows)


def _seconds(encoder: Model) -> float:
    """Returns the length of an encoder's window; 0 for stored embeddings, which have none."""
    return 0.0 if isinstance(encoder, FeatureSource) else encoder.recipe.window_seconds


def _by_split(positions: Sequence[Position]) -> Iterator[tuple[str, list[int]]]:
    """Yields each split with the positions of its recordings."""
    for split in dict.fromkeys(split for split, _ in positions):
        yield split, [row for other, row in positions if other == split]


def _label_name(index: index_lib.Index) -> str:
    """Returns the name of the first label that is a class or classes; empty if there is none."""
    labels = index_lib.read_metadata(index.version_dir)["labels"]
    return next((label["name"] for label in labels if label["kind"] in ("class", "classes")), "")


def _first_class(value: Any) -> str:
    """Returns a stored class, or the alphabetically first of several; empty if there is none."""
    if isinstance(value, list):
        value = min(value) if value else b""
    return (value or b"").decode()


def _look_up(
    source: FeatureSource,
    splits: Mapping[str, index_lib.Index],
    cache_dir: pathlib.Path | None,
    positions: Sequence[Position],
    lead: str,
) -> np.ndarray:
    """Returns the features of recordings, scaled to unit length: float64 [N, D].

    Those of several models are standardised first, so that none outweighs the others.
    """
    assert cache_dir is not None
    values = np.concatenate(
        [
            np.asarray(source.embed_split(splits[split], lead, cache_dir).features[rows], float)
            for split, rows in _by_split(positions)
        ]
    )
    if source.widths:
        centre, scale = linear.standardisation(values, source.widths)
        values = (values - centre) / scale
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


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
        encoder: Encoder.
        features: Columns of the layer among the features of all layers.
        splits: Indexes of the data set's splits.
        positions: Recordings to embed.
        lead: Name of the lead.
        alter: Maps each recording to the one to embed; by default it is unchanged.
    """
    stream = Stream(encoder, features, raise_on_finding)
    embeddings = []
    for split, rows in _by_split(positions):
        recordings = inputs.stored(splits[split], np.array(rows), lead)
        embeddings += [row.embedding for row in stream(map(alter, recordings))]
    values = np.stack(embeddings).astype(float)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _with_noise(opened: Opened, noise_mv: float, seed: int) -> Opened:
    """Returns a recording with added baseline wander, electrode and movement noise.

    Args:
        opened: Recording.
        noise_mv: Standard deviation of the noise.
        seed: Seed of the noise, together with the recording's name.
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
    """Yields the variants of a sample; see `Sample.variants`.

    Only recordings in which all other leads are usable are embedded.

    Args:
        embed: Maps positions, a lead and optionally `alter` to embeddings of unit length.
        splits: Indexes of the data set's splits.
        positions: Recordings of the sample.
        lead: Lead of the sample.
        seed: Seed of the noise.
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
    selected = [positions[number] for number in numbers]
    for name in others:
        yield f"lead {name}", (numbers, embed(selected, name))
    for noise_mv in NOISE_MV:
        alter = functools.partial(_with_noise, noise_mv=noise_mv, seed=seed)
        yield f"noise of {noise_mv:g} mV", (numbers, embed(selected, lead, alter))
