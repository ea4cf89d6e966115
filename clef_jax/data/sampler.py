"""Samples the patients, records, leads and starts of each step from one prepared data set.

Shapes: B patients of the global batch.
"""

import dataclasses
import functools

import numpy as np

from clef_jax.data import index as index_lib
from clef_jax.errors import UserError, counted

VIEWS = 2

_ORDER, _RECORD, _START, _REPEATED = 0, 1, 2, 3
"""Purposes of random numbers: their second seed."""


@dataclasses.dataclass(frozen=True)
class BatchIndices:
    """Data sets, records, leads and start samples of one step."""

    row: np.ndarray
    """int64 [B], positions in the prepared split, one record per patient."""
    lead: np.ndarray
    """int64 [B, 2], for each view a position among the stored leads."""
    start: np.ndarray
    """int64 [B, 2], for each view its first sample in the record."""
    source: np.ndarray
    """int64 [B], numbers of the data sets, whose records and leads the positions are."""


class BatchSampler:
    """Samples the patients, records, leads and starts of each step.

    Each epoch is a pass over the patients in a new random order. For each patient, one record and
    two leads are sampled.

    An epoch drops the patients beyond the last complete batch (different ones in each epoch), so
    that no batch holds a patient twice: the objective treats any two rows as different patients.
    """

    def __init__(
        self,
        index: index_lib.Index,
        *,
        lead_names: tuple[str, ...],
        same_lead_fraction: float,
        global_batch_size: int,
        seed: int,
        num_samples: int = 1,
        random_start: bool = False,
        stored_samples: tuple[int, ...] = (),
        number: int | None = None,
    ):
        """Selects the records that can be sampled.

        Args:
            index: index of the split.
            lead_names: leads that may be sampled; the data set may lack some of them.
            same_lead_fraction: probability that both views are of the same lead.
            global_batch_size: patients of a step over all hosts; in a batch of several data sets,
                the most that are of this one.
            seed: seed of all sampling.
            num_samples: length of a view in samples; shorter records are excluded.
            random_start: whether a view begins anywhere in its record; by default it begins with
                the record.
            stored_samples: lengths of the stored views of all data sets of the run that are
                resampled; empty if none is.
            number: number of this data set among several; None if it is the only one.

        Raises:
            UserError: the data set has none of the leads, all records are too short, or fewer
                patients than the batch size have a usable record.
        """
        allowed = np.array([name in lead_names for name in index.lead_names])
        if not allowed.any():
            raise UserError(
                f"{index.dataset} has no lead {' or '.join(lead_names)}. Available: "
                f"{', '.join(index.lead_names)}. Select leads with --leads.",
                problem="missing_lead",
            )
        usable = index.usable_leads & allowed[None, :]  # [records, leads]
        kept = usable.any(axis=1) & (index.num_samples >= num_samples)
        self.index = index
        self.lead_names = tuple(name for name in index.lead_names if name in lead_names)
        """Requested leads that the data set has."""
        self.num_excluded = int((~kept).sum())
        """Number of records that are too short or have none of the requested leads usable."""
        self._row = index.row[kept]
        self._usable = usable[kept]
        self._num_starts = index.num_samples[kept] - num_samples + 1
        self.num_samples = num_samples
        self.stored_samples = stored_samples
        self.random_start = random_start
        _, self._first, self._count = np.unique(
            index.patient[kept], return_index=True, return_counts=True
        )
        self.num_patients = len(self._first)
        self.global_batch_size = global_batch_size
        self._same_lead_fraction = same_lead_fraction
        self._seed = seed
        self._stream = () if number is None else (number + 1,)
        self._check_num_patients()

    def _check_num_patients(self) -> None:
        """Raises a UserError if fewer patients than the batch size have a usable record."""
        index, is_one_of_several = self.index, bool(self._stream)
        if self.num_patients >= self.global_batch_size:
            return
        name = f" of {index.dataset}" if is_one_of_several else ""
        if not self.num_patients and (index.num_samples < self.num_samples).all():
            raise UserError(
                f"--window-seconds requests {counted(self.num_samples, 'sample')}, but the longest "
                f"record{name} has {index.num_samples.max():,} at {index.common_rate_hz:g} Hz; "
                "request less.",
                problem="window_too_long",
            )
        if is_one_of_several:
            raise UserError(
                f"A batch would hold {counted(self.global_batch_size, 'patient')}{name}, which has "
                f"only {self.num_patients:,} with a usable lead; use a smaller --global-batch-size "
                "or a smaller weight.",
                problem="too_few_patients",
            )
        raise UserError(
            f"--global-batch-size={self.global_batch_size} is more than the "
            f"{counted(self.num_patients, 'patient')} with a usable lead; use a smaller batch.",
            problem="too_few_patients",
        )

    @property
    def sources(self) -> tuple["BatchSampler", ...]:
        """The samplers of all data sets, in the order of their numbers."""
        return (self,)

    @property
    def largest_batch(self) -> int:
        """Largest number of patients that a batch could hold."""
        return self.num_patients

    @property
    def steps_per_epoch(self) -> int:
        return self.num_patients // self.global_batch_size

    def _random(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, number, *self._stream])

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a sampler lives as long as the run
    def _order(self, epoch: int) -> np.ndarray:
        return self._random(_ORDER, epoch).permutation(self.num_patients)

    def sample(self, step: int) -> BatchIndices:
        """Returns the records, leads and starts of one step over all hosts."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        size = self.global_batch_size
        patient = self._order(epoch)[batch * size : (batch + 1) * size]
        return self.records(patient, step)

    def records(self, patient: np.ndarray, step: int) -> BatchIndices:
        """Samples a record, leads and starts for each patient, int64 [B], of a step."""
        size = len(patient)
        rng = self._random(_RECORD, step)
        record = self._first[patient] + rng.integers(self._count[patient])
        first, other = (_nth_true(self._usable[record], rng.random(size)) for _ in range(VIEWS))
        second = np.where(rng.random(size) < self._same_lead_fraction, first, other)
        start = np.zeros((size, VIEWS), np.int64)
        if self.random_start:
            later = self._random(_START, step)
            start = later.integers(self._num_starts[record][:, None], size=start.shape)
        return BatchIndices(
            row=self._row[record],
            lead=np.stack([first, second], axis=1),
            start=start,
            source=np.zeros(size, np.int64),
        )

    def consecutive_patients(self, first: int, count: int) -> np.ndarray:
        """Returns the patients of some consecutive draws, int64 [count], none of them twice.

        Draw 0 is the first patient of the first epoch; here an epoch has no remainder. A patient
        that ends one epoch and begins the next within these draws is replaced by another one.

        Args:
            first: number of the first draw.
            count: number of draws, at most `num_patients`.
        """
        epoch, place = np.divmod(np.arange(first, first + count), self.num_patients)
        patient = np.concatenate([self._order(e)[place[epoch == e]] for e in np.unique(epoch)])
        if epoch[0] != epoch[-1]:
            repeated = np.ones(count, bool)
            repeated[np.unique(patient, return_index=True)[1]] = False
            others = np.setdiff1d(np.arange(self.num_patients), patient)
            rng = self._random(_REPEATED, first)
            patient[repeated] = rng.choice(others, int(repeated.sum()), replace=False)
        return patient


def _nth_true(mask: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns a true column of each row of a mask, int64 [B], by a number in [0, 1).

    Args:
        mask: bool [B, L] with at least one true column per row.
        uniform: float [B] in [0, 1); selects among the true columns.
    """
    nth = (uniform * mask.sum(axis=1)).astype(np.int64) + 1
    return (np.cumsum(mask, axis=1) < nth[:, None]).sum(axis=1)
