"""Does the space of an encoder follow clinical risk, and is it more than age and sex?

Distances are cosine distances of embeddings. Of a prepared data set up to `MAX_RECORDINGS`
recordings are looked at, those first that pre-training did not learn from.

Shapes: N recordings, D features, P permutations.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from clef_jax.data import index as index_lib, metadata as metadata_lib
from clef_jax.data.index import TRAIN
from clef_jax.embedding import inputs
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.stream import Stream, refuse
from clef_jax.errors import UserError
from clef_jax.formats import Opened
from clef_jax.signal import synthetic_noise
from clef_jax.training import health

MAX_RECORDINGS = 600
RECORDINGS_OF_A_PATIENT = 2
STABILITY_RECORDINGS = 256
OTHER_LEADS = ("II", "V2", "V5")
NOISE_MV = (0.05, 0.1, 0.2)
"""Standard deviations of the noise that is added."""
AGE_BAND_YEARS = 5
"""Patients of one sex and one such band of age are matched."""
NUM_QUINTILES = 5
_NOISE_SECONDS = 60.0
_MIN_PAIRS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Recordings of one lead, and the same recordings otherwise."""

    dataset: str
    lead: str
    embedding: np.ndarray
    """[N, D], of unit length."""
    patient: np.ndarray
    risk: np.ndarray
    """[N], NaN where unknown."""
    age_years: np.ndarray
    male: np.ndarray
    label: np.ndarray
    """[N], text: the first stored class of the recording, or nothing."""
    label_name: str
    """Which label that is; nothing if the data set stores no classes."""
    learned_from: np.ndarray
    """bool [N], whether the recording is of the training split."""
    variants: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """By what is different (another lead, noise): recordings, int [M], and embeddings [M, D]."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number about the space."""

    name: str
    value: float
    p_value: float = float("nan")
    """Of the permutation test, where there is one."""
    note: str = ""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        p = f" (p = {self.p_value:.3f})" if np.isfinite(self.p_value) else ""
        return f"{self.value:.3f}{p}"


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """What was found about one encoder."""

    model: str
    sample: Sample
    measures: tuple[Measure, ...]
    similarity_by_quintiles: np.ndarray
    """[5, 5]: quantiles .05, .25, .5, .75, .95 (columns) of the similarity of two patients whose
    risks are as many quintiles apart as the row says; NaN where risk is unknown."""


def measure(
    encoder: Encoder,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    *,
    num_permutations: int = 999,
    seed: int = 0,
) -> Geometry:
    """Measures the space of an encoder on a prepared data set.

    Args:
        splits: the indexes of the data set.
        features: of the layer to look at.

    Raises:
        UserError: the data set has no such lead, or too few recordings of it.
    """
    sample = take(encoder, splits, lead, features, seed)
    measures = tuple(_measures(sample, num_permutations, seed))
    return Geometry(encoder.name, sample, measures, similarity_by_quintiles(sample))


def take(
    encoder: Encoder,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    seed: int = 0,
) -> Sample:
    """Embeds some recordings on a lead, and some of them on other leads and with noise."""
    chosen = list(_choose(splits, lead, encoder, seed))
    if len(chosen) < _MIN_PAIRS:
        raise UserError(
            f"Only {len(chosen)} recordings of {next(iter(splits.values())).dataset} have a usable "
            f"lead {lead} of {encoder.recipe.window_seconds:g} seconds; the geometry needs "
            f"{_MIN_PAIRS}."
        )
    embed = functools.partial(_embed, encoder, features, splits)
    index = next(iter(splits.values()))
    facts = [
        values
        for split, rows in _by_split(chosen)
        for values in metadata_lib.read_records(splits[split], np.array(rows))
    ]
    label = next((x["name"] for x in _labels(index) if x["kind"] in ("class", "classes")), "")
    embedding = embed(chosen, lead)
    return Sample(
        index.dataset,
        lead,
        embedding,
        _numbers([f"{split} {splits[split].patient[row]}" for split, row in chosen]),
        np.array([splits[split].risk[row] for split, row in chosen], float),
        np.array([one["age_years"] for one in facts], float),
        np.array([one["male"] for one in facts], float),
        np.array([_first_class(one.get(label)) for one in facts]),
        label,
        np.array([split == TRAIN for split, _ in chosen]),
        dict(_variants(embed, splits, chosen, lead, seed)),
    )


Place = tuple[str, int]
"""Split and position in it."""


def _choose(
    splits: Mapping[str, index_lib.Index], lead: str, encoder: Encoder, seed: int
) -> Iterator[Place]:
    """Up to `MAX_RECORDINGS`, splits that were not learned from first, sorted within a split."""
    rng, left = np.random.default_rng(seed), MAX_RECORDINGS
    for split in sorted(splits, key=lambda name: (name == TRAIN, name)):
        index = splits[split]
        wanted = np.array([encoder.recipe.num_samples(float(r)) for r in index.sample_rate_hz])
        good = index.usable_leads[:, index.lead_row(lead)] & (index.num_samples >= wanted)
        found: list[int] = []
        for patient in rng.permutation(index.num_patients):
            first, end = index.patient_offset[patient : patient + 2]
            these = first + np.flatnonzero(good[first:end])[:RECORDINGS_OF_A_PATIENT]
            found += these.tolist()
            if len(found) >= left:
                break
        found = sorted(found[:left])
        left -= len(found)
        yield from ((split, row) for row in found)


def _by_split(chosen: Sequence[Place]) -> Iterator[tuple[str, list[int]]]:
    for split in dict.fromkeys(split for split, _ in chosen):
        yield split, [row for other, row in chosen if other == split]


def _labels(index: index_lib.Index) -> list[dict[str, Any]]:
    return index_lib.read_metadata(index.version_dir)["labels"]


def _first_class(value: Any) -> str:
    if isinstance(value, list):
        value = min(value) if value else b""
    return (value or b"").decode()


def _numbers(names: Sequence[str]) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1]


def _embed(
    encoder: Encoder,
    features: slice,
    splits: Mapping[str, index_lib.Index],
    chosen: Sequence[Place],
    lead: str,
    alter: Callable[[Opened], Opened] = lambda opened: opened,
) -> np.ndarray:
    """Returns the embeddings of recordings, scaled to unit length: float64 [N, D].

    Args:
        features: where the layer's features are among those of all layers.
        alter: changes the recordings before they are embedded.
    """
    stream = Stream(encoder, features, refuse)
    embeddings = []
    for split, rows in _by_split(chosen):
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
    chosen: Sequence[Place],
    lead: str,
    seed: int,
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields the same recordings on other leads and with noise.

    Args:
        embed: maps places and a lead to unit embeddings.
    """
    names = next(iter(splits.values())).lead_names
    others = [name for name in OTHER_LEADS if name in names and name != lead]
    kept = np.array(
        [
            all(splits[s].usable_leads[row, splits[s].lead_names.index(name)] for name in others)
            for s, row in chosen
        ]
    )
    which = np.flatnonzero(kept)[:STABILITY_RECORDINGS]
    if not len(which):
        return
    places = [chosen[number] for number in which]
    for name in others:
        yield f"lead {name}", (which, embed(places, name))
    for noise_mv in NOISE_MV:
        alter = functools.partial(_with_noise, noise_mv=noise_mv, seed=seed)
        noisy = embed(places, lead, alter)
        yield f"noise of {noise_mv:g} mV", (which, noisy)


def _measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    yield from _risk_measures(sample, num_permutations, seed)
    one_each = _one_per_patient(sample)
    unit = sample.embedding[one_each]
    spread = health.measure(unit, unit, np.full(len(unit), np.nan))
    yield Measure("uniformity", spread["uniformity"], note="lower is more spread")
    yield Measure("effective rank", spread["effective_rank"], note=f"of {unit.shape[1]} features")
    yield from _retrieval(sample)
    others = 1 - _distances(unit)[np.triu_indices(len(unit), 1)]
    yield Measure("similarity of two patients", float(others.mean()), note="for comparison")
    for name, (which, other) in sample.variants.items():
        same = (sample.embedding[which] * other).sum(axis=1)
        yield Measure(f"similarity to {name}", float(same.mean()), note="of the same recording")
        nearest = (other @ sample.embedding[which].T).argmax(axis=1)
        found = float((nearest == np.arange(len(which))).mean())
        yield Measure(f"found again from {name}", found, note=f"among {len(which)}")
        if name.startswith("lead"):
            squared = ((sample.embedding[which] - other) ** 2).sum(axis=1)
            yield Measure(f"alignment with {name}", float(squared.mean()), note="0 is best")


def _one_per_patient(sample: Sample) -> np.ndarray:
    return np.unique(sample.patient, return_index=True)[1]


def _distances(unit: np.ndarray) -> np.ndarray:
    return 1 - unit @ unit.T


def _risk_measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    """Correlations over pairs of patients, one recording each, with risk and what it is made of."""
    one_each = _one_per_patient(sample)
    known = one_each[np.isfinite(sample.risk[one_each])]
    if len(known) >= _MIN_PAIRS and np.ptp(sample.risk[known]) > 0:
        distance = _distances(sample.embedding[known])
        everybody = np.zeros(len(known), int)
        value, p = mantel(distance, sample.risk[known], everybody, num_permutations, seed)
        yield Measure("distance and risk", value, p, f"{len(known)} patients, all pairs")
        matched = _matched(sample.age_years[known], sample.male[known])
        value, p = mantel(distance, sample.risk[known], matched, num_permutations, seed)
        note = f"pairs of one sex and {AGE_BAND_YEARS} years of age"
        yield Measure("distance and risk, matched", value, p, note)
    for name, values in (("age", sample.age_years), ("sex", sample.male)):
        known = one_each[np.isfinite(values[one_each])]
        if len(known) >= _MIN_PAIRS and np.ptp(values[known]) > 0:
            distance, nobody = _distances(sample.embedding[known]), np.zeros(len(known), int)
            value, p = mantel(distance, values[known], nobody, num_permutations, seed)
            yield Measure(f"distance and {name}", value, p, f"{len(known)} patients, all pairs")


def _matched(age_years: np.ndarray, male: np.ndarray) -> np.ndarray:
    """int [N]: the stratum of each patient; -1 where age or sex is unknown."""
    band = np.where(np.isfinite(age_years), age_years, 0) // AGE_BAND_YEARS
    stratum = 2 * band + np.where(np.isfinite(male), male, 0)
    return np.where(np.isfinite(age_years) & np.isfinite(male), stratum, -1).astype(int)


def mantel(
    distance: np.ndarray, value: np.ndarray, stratum: np.ndarray, num_permutations: int, seed: int
) -> tuple[float, float]:
    """Spearman's correlation of distance [N, N] with |difference of value [N]|, and its p-value.

    Only pairs within a stratum count, and values are permuted within strata (Mantel 1967), so that
    whatever defines the strata can explain nothing; two-sided, never 0.

    Args:
        stratum: int [N]; -1 belongs to none.

    Returns:
        NaN, NaN where fewer than 30 pairs remain.
    """
    pair = (stratum[:, None] == stratum[None]) & (stratum >= 0)[:, None]
    first, second = np.nonzero(np.triu(pair, 1))
    if len(first) < _MIN_PAIRS:
        return float("nan"), float("nan")
    nearness = _centred_ranks(distance[first, second], first, second, len(value))
    gap = _centred_ranks(np.abs(value[first] - value[second]), first, second, len(value))
    observed, rng, extreme = float((nearness * gap).sum()), np.random.default_rng(seed), 0
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum) if s >= 0]
    blocks = [(nearness[np.ix_(rows, rows)], gap[np.ix_(rows, rows)]) for rows in members]
    for _ in range(num_permutations):
        # Pairs within strata stay pairs within strata, so the ranks move with the patients.
        found = 0.0
        for near, far in blocks:
            order = rng.permutation(len(far))
            found += float(np.vdot(near, far[order][:, order]))
        extreme += abs(found) >= abs(observed) - 1e-6
    return observed, (extreme + 1) / (num_permutations + 1)


def _centred_ranks(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, num: int
) -> np.ndarray:
    """float32 [num, num]: ranks of the pairs' values, centred, of unit length; 0 for other pairs.

    Both halves are filled, each with the length of one over the square root of two.
    """
    rank = scipy.stats.rankdata(values)
    rank -= rank.mean()
    rank /= max(float(np.sqrt(2 * (rank**2).sum())), 1e-12)
    out = np.zeros((num, num), np.float32)
    out[first, second] = out[second, first] = rank
    return out


def _retrieval(sample: Sample) -> Iterator[Measure]:
    """How often the nearest other recording is of the same patient."""
    counts = np.bincount(sample.patient)
    asked = np.flatnonzero(counts[sample.patient] > 1)
    if not len(asked):
        return
    similarity = sample.embedding[asked] @ sample.embedding.T
    similarity[np.arange(len(asked)), asked] = -np.inf
    found = sample.patient[similarity.argmax(axis=1)] == sample.patient[asked]
    note = f"{len(asked)} recordings among {len(sample.patient)}"
    yield Measure("nearest is the same patient", float(found.mean()), note=note)


def side_by_side(spaces: Sequence[Geometry]) -> list[list[str]]:
    """A row for each measure: its name, each encoder's value with its p, and what it means."""
    names = list(dict.fromkeys(one.name for found in spaces for one in found.measures))
    by_name = [{one.name: one for one in found.measures} for found in spaces]
    rows = []
    for name in names:
        notes = dict.fromkeys(found[name].note for found in by_name if name in found)
        cells = [str(found[name]) if name in found else "" for found in by_name]
        rows.append([name, *cells, "; ".join(notes)])
    return rows


def similarity_by_quintiles(sample: Sample) -> np.ndarray:
    """[5, 5], see `Geometry.similarity_by_quintiles`."""
    one_each = _one_per_patient(sample)
    known = one_each[np.isfinite(sample.risk[one_each])]
    out = np.full((NUM_QUINTILES, 5), np.nan)
    if len(known) < _MIN_PAIRS:
        return out
    place = scipy.stats.rankdata(sample.risk[known], method="ordinal") - 1
    quintile = (place * NUM_QUINTILES // len(known)).astype(int)
    first, second = np.triu_indices(len(known), 1)
    similarity = 1 - _distances(sample.embedding[known])[first, second]
    apart = np.abs(quintile[first] - quintile[second])
    for steps in range(NUM_QUINTILES):
        if (apart == steps).any():
            out[steps] = np.quantile(similarity[apart == steps], [0.05, 0.25, 0.5, 0.75, 0.95])
    return out
