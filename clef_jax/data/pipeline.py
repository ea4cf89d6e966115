"""Prepared records to device batches. Which records, leads and views a step sees is a pure
function of (seed, step): nothing else decides it, neither hosts, nor threads, nor restarts.

Shapes: B patients of the global batch, b of them on this process, T time.
"""

import dataclasses
import functools
from collections.abc import Iterator

import grain
import jax
import numpy as np
from absl import flags

from clef_jax import leads
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, label as label_lib, raw
from clef_jax.errors import UserError

VIEWS = 2


@dataclasses.dataclass(frozen=True)
class BatchIndices:
    """What one step reads: records, leads and starts."""

    row: np.ndarray
    """int64[B], positions in the prepared split, one per patient."""
    lead: np.ndarray
    """int64[B, 2], for each view a position among the record's leads."""
    start: np.ndarray
    """int64[B, 2], for each view its first sample of the record."""


class BatchSampler:
    """Samples the patients, records, leads and starts of each step.

    Patients come in shuffled passes, then a record of each, then two leads.

    A pass drops the patients beyond the last whole batch (others in every pass), so that no batch
    holds a patient twice: the objective takes any two rows for different patients.
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
    ):
        """`num_samples`: length of a view; shorter records are left out. With `random_start` each
        view begins anywhere in its record, else both begin with it."""
        allowed = np.array([name in lead_names for name in index.lead_names])
        absent = [name for name in lead_names if name not in index.lead_names]
        if absent:
            raise UserError(
                f"This data set has no lead {', '.join(absent)}; it has "
                f"{', '.join(index.lead_names)}. Choose with --leads."
            )
        usable = index.usable_leads & allowed[None, :]  # [records, leads]
        kept = usable.any(axis=1) & (index.num_samples >= num_samples)
        self.index = index
        self.num_left_out = int((~kept).sum())
        """Records that are too short, or without any usable lead among those asked for."""
        self._row = index.row[kept]
        self._usable = usable[kept]
        self._num_starts = index.num_samples[kept] - num_samples + 1
        self.random_start = random_start
        _, self._first, self._count = np.unique(
            index.patient[kept], return_index=True, return_counts=True
        )
        self.num_patients = len(self._first)
        self.global_batch_size = global_batch_size
        self._same_lead_fraction = same_lead_fraction
        self._seed = seed
        if self.num_patients < global_batch_size:
            if not self.num_patients and (index.num_samples < num_samples).all():
                raise UserError(
                    f"--window-seconds asks for {num_samples} samples, but the longest record has "
                    f"{index.num_samples.max()} at {index.common_rate_hz:g} Hz.",
                    problem="window_too_long",
                )
            raise UserError(
                f"--global-batch-size={global_batch_size} is more than the "
                f"{self.num_patients} patients with a usable lead; ask for fewer.",
                problem="too_few_patients",
            )

    @property
    def steps_per_epoch(self) -> int:
        return self.num_patients // self.global_batch_size

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a sampler lives as long as the run
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(self.num_patients)

    def sample(self, step: int) -> BatchIndices:
        """Returns the records, leads and starts of one step over all hosts."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        size = self.global_batch_size
        patient = self._order(epoch)[batch * size : (batch + 1) * size]
        rng = np.random.default_rng([self._seed, 1, step])
        record = self._first[patient] + rng.integers(self._count[patient])
        first, other = (_nth_true(self._usable[record], rng.random(size)) for _ in range(VIEWS))
        second = np.where(rng.random(size) < self._same_lead_fraction, first, other)
        start = np.zeros((size, VIEWS), np.int64)
        if self.random_start:
            later = np.random.default_rng([self._seed, 2, step])
            start = later.integers(self._num_starts[record][:, None], size=start.shape)
        return BatchIndices(
            row=self._row[record], lead=np.stack([first, second], axis=1), start=start
        )


def _nth_true(mask: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """For each row of mask [B, L] one of its true columns, by a number in [0, 1): int64[B]."""
    nth = (uniform * mask.sum(axis=1)).astype(np.int64) + 1
    return (np.cumsum(mask, axis=1) < nth[:, None]).sum(axis=1)


class _Batches:
    """One process's part of every step's batch; random access, so any step can come next."""

    def __init__(
        self,
        sampler: BatchSampler,
        num_samples: int,
        process: int,
        num_processes: int,
        label_names: tuple[str, ...] = (),
    ):
        self._sampler = sampler
        self._num_samples = num_samples
        share = sampler.global_batch_size // num_processes
        self._mine = slice(process * share, (process + 1) * share)
        self._reader = raw.Reader(sampler.index)
        # The step knows leads by their place in the standard order, whatever the data set's order;
        # others that the data set may hold are never drawn.
        place = {name: i for i, name in enumerate(leads.STANDARD_12)}
        self._standard = np.array([place.get(name, -1) for name in sampler.index.lead_names])
        self._labels = label_lib.find(sampler.index, label_names)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        indices = self._sampler.sample(step)
        row, lead = indices.row[self._mine], indices.lead[self._mine]
        # Without starts the reader slices both leads of a record at once.
        start = indices.start[self._mine] if self._sampler.random_start else None
        index = self._sampler.index
        where = index.position(row)
        batch = {
            "adc": self._reader.read(row, lead, self._num_samples, start),  # int16[b, 2, T]
            "gain_per_mv": np.take_along_axis(index.gain_per_mv[where], lead, axis=1),
            "baseline": np.take_along_axis(index.baseline[where], lead, axis=1),
            "lead": self._standard[lead].astype(np.int32),
            "risk": index.risk[where],
            "completeness": index.completeness[where],
        }
        return batch | self._label_arrays(row)

    def _label_arrays(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Returns float32 [b, K] for each label that the objective asks for."""
        if not self._labels:
            return {}
        from clef_jax.data import metadata  # its parser takes half a second to import

        stored = [metadata.read(record, self._labels) for record in self._reader.records(row)]
        return {
            label_lib.PREFIX + label["name"]: np.stack(
                [label_lib.encode(label, values[label["name"]]) for values in stored]
            )
            for label in self._labels
        }


def make_sampler(
    index: index_lib.Index, config: TrainConfig, *, batch_size: int | None = None
) -> BatchSampler:
    """Returns the sampler of a run over one split; reads no record."""
    return BatchSampler(
        index,
        num_samples=_window_samples(index, config),
        random_start=config.window_start == "random",
        lead_names=config.lead_names,
        same_lead_fraction=config.same_lead_fraction,
        global_batch_size=batch_size or config.global_batch_size,
        seed=config.seed,
    )


def _window_samples(index: index_lib.Index, config: TrainConfig) -> int:
    return round(config.window_seconds * index.common_rate_hz)


def make_batches(
    sampler: BatchSampler, config: TrainConfig, *, first_step: int
) -> Iterator[dict[str, np.ndarray]]:
    """An endless iterator over this process's rows of each step's batch, from `first_step` on.

    Yields int16 `adc` [b, 2, T] (ADC units, the lowest value is "missing"), `gain_per_mv` and
    `baseline` [b, 2], `lead` [b, 2] (place in `leads.STANDARD_12`), `risk` and `completeness` [b],
    and float32 `label:NAME` [b, K] for each label that the objective asks for.
    """
    num_samples = _window_samples(sampler.index, config)
    source = _Batches(
        sampler, num_samples, jax.process_index(), jax.process_count(), config.label_names
    )
    steps = grain.MapDataset.range(first_step, np.iinfo(np.int64).max)
    # Any batch can be made by anybody at any time, so neither threads nor processes have a state to
    # keep: a run goes on with other numbers of them.
    if not config.read_processes:
        options = grain.ReadOptions(
            num_threads=config.read_threads, prefetch_buffer_size=config.read_ahead_batches
        )
        return iter(steps.map(source.__getitem__).to_iter_dataset(options))
    each = max(1, config.read_ahead_batches // config.read_processes)
    flags.FLAGS.mark_as_parsed()  # the processes are told absl's flags, which nobody sets here
    options = grain.ReadOptions(num_threads=config.read_threads, prefetch_buffer_size=each)
    workers = grain.MultiprocessingOptions(
        num_workers=config.read_processes, per_worker_buffer_size=each
    )
    stream = steps.map(source.__getitem__).to_iter_dataset(options).mp_prefetch(workers)
    return _from_processes(iter(stream))


def _from_processes(batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    while True:
        try:
            yield next(batches)
        except RuntimeError as error:
            raise UserError(
                f"A process that reads batches ended: {str(error).splitlines()[0]} If the machine "
                "ran out of memory, ask for fewer --read-processes or --read-ahead-batches."
            ) from error
