"""Measures how distances between embeddings relate to clinical risk, age, sex and identity.

Distances are cosine distances between the embeddings of a `space.Sample`.

Shapes: N recordings, D features.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from clef_jax.data import index as index_lib
from clef_jax.errors import counted
from clef_jax.evaluation import space
from clef_jax.evaluation.feature_source import Model
from clef_jax.evaluation.score import plain
from clef_jax.evaluation.space import MIN_RECORDINGS, Sample
from clef_jax.training import health

AGE_BAND_YEARS = 5
"""Width of an age band; matched patients have the same sex and are in the same age band."""
NUM_QUINTILES = 5
_ROUNDING = 1e-12
"""Spread of distances below which they are equal but for rounding."""
_MIN_PAIRS = 30
"""Smallest number of pairs for a test."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of the embeddings."""

    name: str
    value: float
    p_value: float = float("nan")
    """p-value of the permutation test; NaN for measures without a test."""
    note: str = ""
    """Remark for readers, such as the number of patients."""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        p = f" (p = {self.p_value:.3f})" if np.isfinite(self.p_value) else ""
        return f"{self.value:.3f}{p}"


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """Measures of the embeddings of one encoder."""

    model: str
    sample: Sample
    measures: tuple[Measure, ...]
    similarity_by_quintiles: np.ndarray
    """Quantiles .05, .25, .5, .75, .95 (columns) of the similarity of two patients, by the
    difference of their risk quintiles (rows), [5, 5]; NaN if too few risks are known."""

    def to_json(self) -> Iterator[dict[str, Any]]:
        """Yields a flat JSON object for each measure, with None where a number is not defined."""
        for item in self.measures:
            yield {
                "model": self.model,
                "dataset": self.sample.dataset,
                "lead": self.sample.lead,
                "measure": item.name,
                "value": plain(item.value),
                "p_value": plain(item.p_value),
                "note": item.note,
            }


def measure(
    encoder: Model,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    *,
    num_permutations: int = 999,
    seed: int = 0,
    cache_dir: pathlib.Path | None = None,
) -> Geometry:
    """Measures the embeddings of an encoder on a prepared data set.

    Args:
        encoder: Encoder, or another source of features.
        splits: Indexes of the data set's splits.
        lead: Name of the lead to embed.
        features: Columns of the layer among the features of all layers.
        num_permutations: Number of permutations of each test.
        seed: Seed of the sampled recordings, the noise and the permutations.
        cache_dir: Folder for cached embeddings, which only a source of features needs.

    Raises:
        UserError: the data set lacks the lead, or has too few recordings with it.
    """
    sample = space.take(encoder, splits, lead, features, seed, cache_dir)
    measures = tuple(_measures(sample, num_permutations, seed))
    return Geometry(encoder.name, sample, measures, similarity_by_quintiles(sample))


def _measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    yield from _risk_measures(sample, num_permutations, seed)
    unit = sample.embedding[_one_per_patient(sample)]
    spread = health.measure(unit, unit, np.full(len(unit), np.nan))
    yield Measure("uniformity", spread["uniformity"], note="lower means more evenly spread")
    yield Measure(
        "effective rank", spread["effective_rank"], note=f"of {counted(unit.shape[1], 'feature')}"
    )
    yield from _retrieval(sample)
    similarity = 1 - _distances(unit)[np.triu_indices(len(unit), 1)]
    yield Measure("similarity of two patients", float(similarity.mean()), note="mean of all pairs")
    yield from _stability(sample)


def _stability(sample: Sample) -> Iterator[Measure]:
    """Yields the similarity of the sample's embeddings to those on other leads and with noise."""
    for name, (numbers, variant) in sample.variants.items():
        embedding = sample.embedding[numbers]
        similarity = float((embedding * variant).sum(axis=1).mean())
        yield Measure(f"similarity with {name}", similarity, note="of the same recording")
        nearest = (variant @ embedding.T).argmax(axis=1)
        fraction = float((nearest == np.arange(len(numbers))).mean())
        note = f"fraction nearest to the same recording, among {len(numbers)}"
        yield Measure(f"retrieval with {name}", fraction, note=note)
        if name.startswith("lead"):
            squared = float(((embedding - variant) ** 2).sum(axis=1).mean())
            yield Measure(
                f"alignment with {name}", squared, note="mean squared distance, 0 is best"
            )


def _one_per_patient(sample: Sample) -> np.ndarray:
    """Returns the first recording of each patient: int [P] of P patients."""
    return np.unique(sample.patient, return_index=True)[1]


def _distances(unit: np.ndarray) -> np.ndarray:
    """Returns the cosine distances [N, N] of embeddings [N, D] of unit length."""
    return 1 - unit @ unit.T


def _risk_measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    """Yields correlations of distance with risk, age and sex over pairs of patients.

    One recording per patient is used. A value that too few patients have, or that is equal for all
    patients, has no measure.
    """
    numbers = _one_per_patient(sample)
    known = numbers[np.isfinite(sample.risk[numbers])]
    if len(known) >= MIN_RECORDINGS and np.ptp(sample.risk[known]) > 0:
        distance = _distances(sample.embedding[known])
        one_stratum = np.zeros(len(known), int)
        value, p = mantel(distance, sample.risk[known], one_stratum, num_permutations, seed)
        yield Measure("distance and risk", value, p, f"{counted(len(known), 'patient')}, all pairs")
        matched = _matched(sample.age_years[known], sample.male[known])
        value, p = mantel(distance, sample.risk[known], matched, num_permutations, seed)
        note = f"pairs of the same sex and {AGE_BAND_YEARS}-year age band"
        yield Measure("distance and risk, matched", value, p, note)
    for name, values in (("age", sample.age_years), ("sex", sample.male)):
        known = numbers[np.isfinite(values[numbers])]
        if len(known) >= MIN_RECORDINGS and np.ptp(values[known]) > 0:
            distance, one_stratum = _distances(sample.embedding[known]), np.zeros(len(known), int)
            value, p = mantel(distance, values[known], one_stratum, num_permutations, seed)
            yield Measure(
                f"distance and {name}", value, p, f"{counted(len(known), 'patient')}, all pairs"
            )


def _matched(age_years: np.ndarray, male: np.ndarray) -> np.ndarray:
    """Returns the stratum of each patient, int [N]; -1 where age or sex is unknown."""
    band = np.where(np.isfinite(age_years), age_years, 0) // AGE_BAND_YEARS
    stratum = 2 * band + np.where(np.isfinite(male), male, 0)
    return np.where(np.isfinite(age_years) & np.isfinite(male), stratum, -1).astype(int)


def mantel(
    distance: np.ndarray, value: np.ndarray, stratum: np.ndarray, num_permutations: int, seed: int
) -> tuple[float, float]:
    """Tests whether distance correlates with the difference of a value (Mantel 1967).

    Only pairs within a stratum are compared, and values are permuted within strata, so that the
    properties that define the strata cannot explain a correlation.

    Args:
        distance: Symmetric distances, [N, N].
        value: Value of each recording, [N].
        stratum: Stratum of each recording, int [N]; -1 excludes a recording.
        num_permutations: Number of permutations.
        seed: Seed of the permutations.

    Returns:
        Spearman's correlation of distance and |difference of value| over pairs, and its two-sided
        p-value, which is at least 1 / (num_permutations + 1); both are NaN with fewer than 30
        pairs, or if all distances are equal.
    """
    same_stratum = (stratum[:, None] == stratum[None]) & (stratum >= 0)[:, None]
    first, second = np.nonzero(np.triu(same_stratum, 1))
    if len(first) < _MIN_PAIRS or np.ptp(distance[first, second]) < _ROUNDING:
        return float("nan"), float("nan")
    near = _centred_ranks(distance[first, second], first, second, len(value))
    gap = _centred_ranks(np.abs(value[first] - value[second]), first, second, len(value))
    observed, rng, num_extreme = float((near * gap).sum()), np.random.default_rng(seed), 0
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum) if s >= 0]
    blocks = [(near[np.ix_(rows, rows)], gap[np.ix_(rows, rows)]) for rows in members]
    for _ in range(num_permutations):
        # A permutation within strata maps pairs within strata to such pairs, so the ranks of the
        # pairs need not be computed again.
        permuted = 0.0
        for near_block, gap_block in blocks:
            order = rng.permutation(len(gap_block))
            permuted += float(np.vdot(near_block, gap_block[order][:, order]))
        num_extreme += abs(permuted) >= abs(observed) - 1e-6
    return observed, (num_extreme + 1) / (num_permutations + 1)


def _centred_ranks(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, num: int
) -> np.ndarray:
    """Returns a matrix of the centred ranks of pairs, of unit length, float32 [num, num].

    Other entries are 0. Each pair is in both halves of the symmetric matrix, so the ranks of one
    half have the length 1 / sqrt(2).

    Args:
        values: Values of P pairs, [P].
        first, second: Members of each pair, int [P].
        num: Number of recordings.
    """
    rank = scipy.stats.rankdata(values)
    rank -= rank.mean()
    rank /= max(float(np.sqrt(2 * (rank**2).sum())), 1e-12)
    matrix = np.zeros((num, num), np.float32)
    matrix[first, second] = matrix[second, first] = rank
    return matrix


def _retrieval(sample: Sample) -> Iterator[Measure]:
    """Yields the fraction of recordings whose nearest other recording is of the same patient."""
    counts = np.bincount(sample.patient)
    queries = np.flatnonzero(counts[sample.patient] > 1)
    if not len(queries):
        return
    similarity = sample.embedding[queries] @ sample.embedding.T
    similarity[np.arange(len(queries)), queries] = -np.inf
    same = sample.patient[similarity.argmax(axis=1)] == sample.patient[queries]
    note = f"fraction of {counted(len(queries), 'recording')} among {len(sample.patient)}"
    yield Measure("nearest is the same patient", float(same.mean()), note=note)


def side_by_side(geometries: Sequence[Geometry]) -> list[list[str]]:
    """Returns a row for each measure: its name, each encoder's value with p-value, and notes."""
    by_name = [{item.name: item for item in geometry.measures} for geometry in geometries]
    rows = []
    for name in dict.fromkeys(name for measures in by_name for name in measures):
        notes = dict.fromkeys(measures[name].note for measures in by_name if name in measures)
        cells = [str(measures[name]) if name in measures else "" for measures in by_name]
        rows.append([name, *cells, "; ".join(notes)])
    return rows


def similarity_by_quintiles(sample: Sample) -> np.ndarray:
    """Returns quantiles of the similarity of two patients by the difference of their risk, [5, 5];
    see `Geometry.similarity_by_quintiles`."""
    numbers = _one_per_patient(sample)
    known = numbers[np.isfinite(sample.risk[numbers])]
    quantiles = np.full((NUM_QUINTILES, 5), np.nan)
    if len(known) < MIN_RECORDINGS:
        return quantiles
    rank = scipy.stats.rankdata(sample.risk[known], method="ordinal") - 1
    quintile = (rank * NUM_QUINTILES // len(known)).astype(int)
    first, second = np.triu_indices(len(known), 1)
    similarity = 1 - _distances(sample.embedding[known])[first, second]
    difference = np.abs(quintile[first] - quintile[second])
    for steps in range(NUM_QUINTILES):
        if (difference == steps).any():
            quantiles[steps] = np.quantile(
                similarity[difference == steps], [0.05, 0.25, 0.5, 0.75, 0.95]
            )
    return quantiles
