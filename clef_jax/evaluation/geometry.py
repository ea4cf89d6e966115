"""Measures how distances of embeddings relate to clinical risk, age, sex and identity.

Distances are cosine distances between the embeddings of a `space.Sample`.

Shapes: N recordings, D features.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy.stats

from clef_jax.data import index as index_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.evaluation import space
from clef_jax.evaluation.space import MIN_RECORDINGS, Sample
from clef_jax.training import health

AGE_BAND_YEARS = 5
"""Matched patients have the same sex and are in the same band of age."""
NUM_QUINTILES = 5
_MIN_PAIRS = 30


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of the embeddings."""

    name: str
    value: float
    p_value: float = float("nan")
    """p-value of the permutation test; NaN where there is none."""
    note: str = ""
    """What the value refers to, for readers."""

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
    """[5, 5]: quantiles .05, .25, .5, .75, .95 (columns) of the similarity of two patients, by the
    number of quintiles that their risks are apart (rows); NaN where risk is unknown."""


def measure(
    encoder: Encoder,
    splits: Mapping[str, index_lib.Index],
    lead: str,
    features: slice,
    *,
    num_permutations: int = 999,
    seed: int = 0,
) -> Geometry:
    """Measures the embeddings of an encoder on a prepared data set.

    Args:
        splits: indexes of the splits of the data set.
        features: columns of the layer among the features of all layers.
        num_permutations: permutations of each test.
        seed: selects the recordings, the noise and the permutations.

    Raises:
        UserError: the data set has no such lead, or too few recordings of it.
    """
    sample = space.take(encoder, splits, lead, features, seed)
    measures = tuple(_measures(sample, num_permutations, seed))
    return Geometry(encoder.name, sample, measures, similarity_by_quintiles(sample))


def _measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    yield from _risk_measures(sample, num_permutations, seed)
    unit = sample.embedding[_one_per_patient(sample)]
    spread = health.measure(unit, unit, np.full(len(unit), np.nan))
    yield Measure("uniformity", spread["uniformity"], note="lower is more spread")
    yield Measure("effective rank", spread["effective_rank"], note=f"of {unit.shape[1]} features")
    yield from _retrieval(sample)
    similarity = 1 - _distances(unit)[np.triu_indices(len(unit), 1)]
    yield Measure("similarity of two patients", float(similarity.mean()), note="for comparison")
    yield from _stability(sample)


def _stability(sample: Sample) -> Iterator[Measure]:
    """Yields how similar the embeddings on other leads and with noise are to the sample's."""
    for name, (numbers, variant) in sample.variants.items():
        embedding = sample.embedding[numbers]
        similarity = float((embedding * variant).sum(axis=1).mean())
        yield Measure(f"similarity to {name}", similarity, note="of the same recording")
        nearest = (variant @ embedding.T).argmax(axis=1)
        fraction = float((nearest == np.arange(len(numbers))).mean())
        yield Measure(f"found again from {name}", fraction, note=f"among {len(numbers)}")
        if name.startswith("lead"):
            squared = float(((embedding - variant) ** 2).sum(axis=1).mean())
            yield Measure(f"alignment with {name}", squared, note="0 is best")


def _one_per_patient(sample: Sample) -> np.ndarray:
    """Returns the first recording of each patient: int [P] of P patients."""
    return np.unique(sample.patient, return_index=True)[1]


def _distances(unit: np.ndarray) -> np.ndarray:
    """Returns the cosine distances [N, N] of embeddings [N, D] of unit length."""
    return 1 - unit @ unit.T


def _risk_measures(sample: Sample, num_permutations: int, seed: int) -> Iterator[Measure]:
    """Yields correlations of distance with risk, age and sex over pairs of patients.

    Each patient has one recording. A value that is unknown or equal for nearly all patients has no
    measure.
    """
    numbers = _one_per_patient(sample)
    known = numbers[np.isfinite(sample.risk[numbers])]
    if len(known) >= MIN_RECORDINGS and np.ptp(sample.risk[known]) > 0:
        distance = _distances(sample.embedding[known])
        one_stratum = np.zeros(len(known), int)
        value, p = mantel(distance, sample.risk[known], one_stratum, num_permutations, seed)
        yield Measure("distance and risk", value, p, f"{len(known)} patients, all pairs")
        matched = _matched(sample.age_years[known], sample.male[known])
        value, p = mantel(distance, sample.risk[known], matched, num_permutations, seed)
        note = f"pairs of one sex and {AGE_BAND_YEARS} years of age"
        yield Measure("distance and risk, matched", value, p, note)
    for name, values in (("age", sample.age_years), ("sex", sample.male)):
        known = numbers[np.isfinite(values[numbers])]
        if len(known) >= MIN_RECORDINGS and np.ptp(values[known]) > 0:
            distance, one_stratum = _distances(sample.embedding[known]), np.zeros(len(known), int)
            value, p = mantel(distance, values[known], one_stratum, num_permutations, seed)
            yield Measure(f"distance and {name}", value, p, f"{len(known)} patients, all pairs")


def _matched(age_years: np.ndarray, male: np.ndarray) -> np.ndarray:
    """Returns the stratum of each patient, int [N]; -1 where age or sex is unknown."""
    band = np.where(np.isfinite(age_years), age_years, 0) // AGE_BAND_YEARS
    stratum = 2 * band + np.where(np.isfinite(male), male, 0)
    return np.where(np.isfinite(age_years) & np.isfinite(male), stratum, -1).astype(int)


def mantel(
    distance: np.ndarray, value: np.ndarray, stratum: np.ndarray, num_permutations: int, seed: int
) -> tuple[float, float]:
    """Tests whether distance correlates with the difference of a value (Mantel 1967).

    Only pairs within a stratum are compared, and values are permuted within strata, so that what
    defines the strata cannot explain a correlation.

    Args:
        distance: [N, N], symmetric.
        value: [N].
        stratum: int [N]; -1 excludes a recording.

    Returns:
        Spearman's correlation of distance and |difference of value| over pairs, and its two-sided
        p-value, which is at least 1 / (num_permutations + 1); NaN, NaN where fewer than 30 pairs
        remain.
    """
    same_stratum = (stratum[:, None] == stratum[None]) & (stratum >= 0)[:, None]
    first, second = np.nonzero(np.triu(same_stratum, 1))
    if len(first) < _MIN_PAIRS:
        return float("nan"), float("nan")
    near = _centred_ranks(distance[first, second], first, second, len(value))
    gap = _centred_ranks(np.abs(value[first] - value[second]), first, second, len(value))
    observed, rng, num_extreme = float((near * gap).sum()), np.random.default_rng(seed), 0
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum) if s >= 0]
    blocks = [(near[np.ix_(rows, rows)], gap[np.ix_(rows, rows)]) for rows in members]
    for _ in range(num_permutations):
        # Pairs within strata stay pairs within strata, so the ranks move with the patients.
        permuted = 0.0
        for near_block, gap_block in blocks:
            order = rng.permutation(len(gap_block))
            permuted += float(np.vdot(near_block, gap_block[order][:, order]))
        num_extreme += abs(permuted) >= abs(observed) - 1e-6
    return observed, (num_extreme + 1) / (num_permutations + 1)


def _centred_ranks(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, num: int
) -> np.ndarray:
    """Returns the ranks of the values of pairs, centred and of unit length, float32 [num, num].

    Other entries are 0. Each pair is in both halves of the matrix, which is why a half has the
    length 1 / sqrt(2).

    Args:
        values: [P], of P pairs.
        first, second: int [P], the members of each pair.
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
    note = f"{len(queries)} recordings among {len(sample.patient)}"
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
    """Returns quantiles of the similarity of patients by their difference in risk, [5, 5].

    See `Geometry.similarity_by_quintiles`.
    """
    numbers = _one_per_patient(sample)
    known = numbers[np.isfinite(sample.risk[numbers])]
    quantiles = np.full((NUM_QUINTILES, 5), np.nan)
    if len(known) < MIN_RECORDINGS:
        return quantiles
    rank = scipy.stats.rankdata(sample.risk[known], method="ordinal") - 1
    quintile = (rank * NUM_QUINTILES // len(known)).astype(int)
    first, second = np.triu_indices(len(known), 1)
    similarity = 1 - _distances(sample.embedding[known])[first, second]
    apart = np.abs(quintile[first] - quintile[second])
    for steps in range(NUM_QUINTILES):
        if (apart == steps).any():
            quantiles[steps] = np.quantile(
                similarity[apart == steps], [0.05, 0.25, 0.5, 0.75, 0.95]
            )
    return quantiles
