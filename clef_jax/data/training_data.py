"""The prepared data sets of a training run, opened by their indexes.

Shapes: N records, P patients, D data sets.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax.config import TrainConfig
from clef_jax.data import age_sex, index as index_lib, mixed_sampler, risk_table, selection
from clef_jax.data.mixed_sampler import MixedSampler
from clef_jax.data.risk_table import RiskTable
from clef_jax.data.sampler import BatchSampler

TABLE = "table of risks"
"""Name of the table's digest among the fingerprints of a run."""

Sampler = BatchSampler | MixedSampler


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """One split of each data set of a run. A run with a single data set is the usual case."""

    indexes: tuple[index_lib.Index, ...]
    weights: tuple[float, ...]
    """Fraction of the sampled patients that are from each data set; they sum to 1."""
    sample_rate_hz: float
    """Sampling rate of the encoder's input."""
    risk_table: RiskTable | None = None
    """Table whose risks the indexes have; None where they have the prepared ones."""

    @property
    def is_mixed(self) -> bool:
        return len(self.indexes) > 1

    @functools.cached_property
    def cohort_quantiles(self) -> np.ndarray:
        """Quantiles 0, 0.01, ... 1 of the risk of the sampled patients, float32 [101]; NaN if no
        risk is known."""
        if not self.is_mixed:
            return self.indexes[0].cohort_quantiles
        first = [index.patient_offset[:-1] for index in self.indexes]
        risk = np.concatenate([x.risk[at] for x, at in zip(self.indexes, first, strict=True)])
        each = [w / len(at) for w, at in zip(self.weights, first, strict=True)]
        weight = np.repeat(each, [len(at) for at in first])
        return _weighted_quantiles(risk, weight)

    def window_samples(self, window_seconds: float) -> tuple[int, ...]:
        """Returns the stored length of a window in each data set, in samples."""
        return tuple(round(window_seconds * index.common_rate_hz) for index in self.indexes)

    def stored_samples(self, window_seconds: float) -> tuple[int, ...]:
        """Returns the different lengths of stored windows, ascending, if the step resamples them.

        It is empty if all windows have the encoder's length, as they have with a single data set at
        its own rate: then the step does not resample.
        """
        lengths = set(self.window_samples(window_seconds))
        return () if lengths == {round(window_seconds * self.sample_rate_hz)} else _sorted(lengths)

    def identity(self) -> dict[str, str]:
        """Returns the fingerprints of data and risks by name.

        A run resumes only with the same ones.
        """
        table = {} if self.risk_table is None else {TABLE: self.risk_table.digest}
        if not self.is_mixed:
            return {"data set": self.indexes[0].fingerprint} | table
        return {f"data set {index.dataset}": index.fingerprint for index in self.indexes} | table

    def with_risk(self, indexes: Sequence[index_lib.Index]) -> list[index_lib.Index]:
        """Returns splits of these data sets with the risk that this run uses.

        That is the risk of the table if there is one. Otherwise, in a run on several data sets, one
        without any known risk gets that of age and sex.
        """
        if self.risk_table is not None:
            return self.risk_table.apply(indexes)
        return [age_sex.fill(index) for index in indexes] if self.is_mixed else list(indexes)

    def describe(self) -> list[dict[str, Any]]:
        """Returns name, weight, fingerprint, settings and counts of each data set, for the record
        of the run."""
        return [
            {
                "name": index.dataset,
                "weight": weight,
                "fingerprint": index.fingerprint,
                "sample_rate_hz": index.common_rate_hz,
                "leads": list(index.lead_names),
                "num_patients": index.num_patients,
                "num_recordings": index.num_records,
                "known_risk": float(np.isfinite(index.risk).mean()),
                "score": _score(index, self.risk_table),
                "settings": dict(index.settings),
            }
            for index, weight in zip(self.indexes, self.weights, strict=True)
        ]


def _score(index: index_lib.Index, table: RiskTable | None) -> str | None:
    """Returns the name of the score of a data set's risk; None if no risk is known."""
    if not np.isfinite(index.risk).any():
        return None
    if table is not None:
        return table.name
    is_stored = np.isfinite(index.cohort_quantiles).any()
    return index.settings.get("score") if is_stored else age_sex.SCORE


def _sorted(lengths: set[int]) -> tuple[int, ...]:
    return tuple(sorted(lengths))


def _weighted_quantiles(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns quantiles 0, 0.01, ... 1 of values [P] with weights [P]; NaN if all are unknown."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(index_lib.NUM_QUANTILES, np.nan, np.float32)
    order = np.argsort(values[known], kind="stable")
    values, weight = values[known][order], weight[known][order]
    # As np.quantile interpolates equal weights: the lowest value is at 0, the highest at 1.
    level = np.cumsum(weight) - (weight + weight[0]) / 2
    level = level / max(level[-1], 1e-12)
    return np.interp(np.linspace(0, 1, index_lib.NUM_QUANTILES), level, values).astype(np.float32)


def load(config: TrainConfig) -> TrainingData:
    """Returns the training split of the data sets of a run, without excluded patients.

    Their risk is that of `TrainingData.with_risk`.

    Raises:
        UserError: a data set is not prepared, is damaged or has recordings of several rates, the
            selection is not possible, or the table of risks cannot be used.
    """
    entries = config.datasets
    indexes = [
        index_lib.load(index_lib.find(config.data_dir, entry.name), index_lib.TRAIN)
        for entry in entries
    ]
    indexes = selection.exclude_each(indexes, config.exclude)
    table = None if config.risk_table is None else risk_table.read(config.risk_table)
    data = dataclasses.replace(of_indexes(indexes, config), risk_table=table)
    data = dataclasses.replace(data, indexes=tuple(data.with_risk(data.indexes)))
    if table is not None:
        risk_table.check(data.indexes)
    return data


def of_indexes(indexes: Sequence[index_lib.Index], config: TrainConfig) -> TrainingData:
    """Returns the data of a run from opened splits, in the order of the settings' data sets.

    Raises:
        UserError: a data set has recordings of several rates.
    """
    given = [entry.weight for entry in config.datasets]
    if len(given) != len(indexes) or None in given:
        given = [index.num_patients for index in indexes]
    weights = np.asarray(given, float) / np.sum(np.asarray(given, float))
    rate_hz = config.encoder_rate_hz or max(index.common_rate_hz for index in indexes)
    return TrainingData(tuple(indexes), tuple(weights.tolist()), rate_hz)


def for_checks(data: TrainingData, min_patients: int) -> TrainingData:
    """Returns the validation split of each data set, for representation checks.

    Data sets are left out whose validation split is absent or has too few patients; if no data set
    is left, the training data is returned.
    """
    kept = []
    for index, weight in zip(data.indexes, data.weights, strict=True):
        if index_lib.VALIDATION not in index_lib.splits(index.version_dir):
            continue
        validation = index_lib.load(index.version_dir, index_lib.VALIDATION)
        if validation.num_patients >= min_patients:
            kept.append((validation, weight))
    if not kept:
        return data
    indexes, weights = zip(*kept, strict=True)
    total = sum(weights)
    return dataclasses.replace(
        data,
        indexes=tuple(data.with_risk(indexes)),
        weights=tuple(w / total for w in weights),
    )


def make_sampler(
    data: TrainingData,
    config: TrainConfig,
    *,
    batch_size: int | None = None,
    stored_samples: tuple[int, ...] | None = None,
) -> Sampler:
    """Returns the sampler of a run, without reading records.

    Args:
        data: data sets of the run.
        config: settings of the run.
        batch_size: patients per step; by default `config.global_batch_size`.
        stored_samples: lengths of stored windows that the step knows; by default those of `data`.

    Raises:
        UserError: as `BatchSampler` and `MixedSampler`.
    """
    size = batch_size or config.global_batch_size
    one_data_set = config.batch_from == "one_data_set"
    lengths = data.window_samples(config.window_seconds)
    if stored_samples is None:
        stored_samples = data.stored_samples(config.window_seconds)

    def make(number: int, most: int) -> BatchSampler:
        return BatchSampler(
            data.indexes[number],
            num_samples=lengths[number],
            random_start=config.window_start == "random",
            lead_names=config.lead_names,
            same_lead_fraction=config.same_lead_fraction,
            global_batch_size=most,
            seed=config.seed,
            stored_samples=stored_samples,
            number=number if data.is_mixed else None,
        )

    if not data.is_mixed:
        return make(0, size)
    most = [size if one_data_set else mixed_sampler.most_per_batch(size, w) for w in data.weights]
    sampler = MixedSampler(
        [make(number, count) for number, count in enumerate(most)],
        data.weights,
        global_batch_size=size,
        seed=config.seed,
        one_data_set=one_data_set,
    )
    if batch_size is None:
        sampler.check_weights()
    return sampler
