"""Samples each step from several prepared data sets, by weight.

The weights count patients that are drawn. They are met exactly in every cycle of `CYCLE_STEPS`
steps, in a random order, so that the number of earlier draws from a data set is known for any step
without counting: the draws stay a pure function of (seed, step).

Shapes: B patients of the global batch, D data sets, S = `CYCLE_STEPS`.
"""

import functools
from collections.abc import Sequence

import numpy as np

from clef_jax.data.sampler import BatchIndices, BatchSampler
from clef_jax.errors import UserError

CYCLE_STEPS = 1024
"""Number of steps after which each data set has had its exact share."""

_CYCLE, _ROWS = 4, 5
"""Purposes of random numbers, besides those of `sampler`."""


class MixedSampler:
    """Samples the patients, records, leads and starts of each step from several data sets.

    A batch holds floor or ceil of weight times B patients of each data set, or, with
    `one_data_set`, B patients of a single one. Within a data set, patients follow each other as in
    passes over it in new random orders, and no batch holds a patient twice.
    """

    def __init__(
        self,
        sources: Sequence[BatchSampler],
        weights: Sequence[float],
        *,
        global_batch_size: int,
        seed: int,
        one_data_set: bool = False,
    ):
        """Computes the share of each data set in a cycle.

        Args:
            sources: samplers of the data sets.
            weights: positive weight of each data set; they sum to 1.
            global_batch_size: patients of a step over all hosts.
            seed: seed of all sampling.
            one_data_set: whether all patients of a step are from the same data set.
        """
        self.sources = tuple(sources)
        self.weights = tuple(weights)
        self.global_batch_size = global_batch_size
        self.one_data_set = one_data_set
        self._seed = seed
        self._cumulative = np.cumsum(weights)
        self._cumulative[-1] = 1.0  # despite rounding
        self._per_cycle = self._steps_in_order().sum(axis=0)

    def check_weights(self) -> None:
        """Raises UserError if a weight is so small that nothing would be drawn from a data set."""
        for source, count in zip(self.sources, self._per_cycle, strict=True):
            if not count:
                drawn = "batch" if self.one_data_set else "patient"
                raise UserError(
                    f"The weight of {source.index.dataset} is so small that no {drawn} of "
                    f"{CYCLE_STEPS:,} steps would be from it; use a larger weight, or omit it.",
                    problem="weight_too_small",
                )

    @property
    def num_patients(self) -> int:
        return sum(source.num_patients for source in self.sources)

    @property
    def largest_batch(self) -> int:
        """Largest number of patients that a batch could hold, by the smallest data set."""
        pairs = zip(self.sources, self.weights, strict=True)
        return int(
            min(source.num_patients / (1 if self.one_data_set else w) for source, w in pairs)
        )

    @property
    def num_excluded(self) -> int:
        """Number of records that are too short or have none of the requested leads usable."""
        return sum(source.num_excluded for source in self.sources)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps that draw as many patients as there are in all data sets."""
        return max(1, self.num_patients // self.global_batch_size)

    @property
    def random_start(self) -> bool:
        return self.sources[0].random_start

    @property
    def stored_samples(self) -> tuple[int, ...]:
        """Lengths of the stored views that are resampled; empty if none is."""
        return self.sources[0].stored_samples

    def _steps_in_order(self) -> np.ndarray:
        """Returns the draws from each data set in the steps of a cycle, int64 [S, D], unshuffled.

        Systematic sampling (Madow 1949, doi 10.1214/aoms/1177729988): every step rounds the
        cumulative weights by its own offset, and the offsets of a cycle are spread evenly. So each
        step has floor or ceil of its expectation, and a cycle has the expectation, rounded.
        """
        offset = (np.arange(CYCLE_STEPS) + 0.5) / CYCLE_STEPS
        size = 1 if self.one_data_set else self.global_batch_size
        upto = np.floor(self._cumulative[None] * size + offset[:, None]).astype(np.int64)
        return np.diff(upto, axis=1, prepend=0)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a sampler lives as long as the run
    def _cycle(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a cycle's draws in each step, and before it in the cycle, int64 [S, D] each."""
        order = np.random.default_rng([self._seed, _CYCLE, number]).permutation(CYCLE_STEPS)
        draws = self._steps_in_order()[order]
        return draws, np.cumsum(draws, axis=0) - draws

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the number of draws from each data set in a step, and before it, int64 [D] each.

        A draw is a patient, or a batch with `one_data_set`.
        """
        cycle, place = divmod(step, CYCLE_STEPS)
        draws, before = self._cycle(cycle)
        return draws[place], cycle * self._per_cycle + before[place]

    def sample(self, step: int) -> BatchIndices:
        """Returns the data sets, records, leads and starts of one step over all hosts."""
        draws, before = self.draws(step)
        parts = []
        for number in np.flatnonzero(draws):
            source, first = self.sources[number], int(before[number])
            if self.one_data_set:
                part = source.sample(first)
            else:
                patient = source.consecutive_patients(first, int(draws[number]))
                part = source.records(patient, step)
            parts.append((part, np.full(len(part.row), number)))
        # In random order, so that each process reads a similar part of every data set.
        rows = np.random.default_rng([self._seed, _ROWS, step]).permutation(self.global_batch_size)
        return BatchIndices(
            row=np.concatenate([part.row for part, _ in parts])[rows],
            lead=np.concatenate([part.lead for part, _ in parts])[rows],
            start=np.concatenate([part.start for part, _ in parts])[rows],
            source=np.concatenate([number for _, number in parts])[rows],
        )


def most_per_batch(global_batch_size: int, weight: float) -> int:
    """Returns the largest number of patients that a batch may hold of a data set."""
    return int(np.ceil(global_batch_size * weight - 1e-9))
