"""Makes training batches from prepared records. The records, leads and views of a step are a pure
function of (seed, step): they do not depend on the number of hosts, threads or restarts.

Shapes: B patients of the global batch, b of them on this process, T time.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from clef_jax import leads
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, label as label_lib, raw, training_data
from clef_jax.data.sampler import VIEWS as VIEWS, BatchIndices, BatchSampler
from clef_jax.data.training_data import Sampler, TrainingData
from clef_jax.errors import UserError
from clef_jax.signal.adc import MISSING_ADC


class _Batches:
    """The batches of one process, with random access by step."""

    def __init__(
        self,
        sampler: Sampler,
        process: int,
        num_processes: int,
        label_names: tuple[str, ...] = (),
    ):
        self._sampler = sampler
        local_size = sampler.global_batch_size // num_processes
        self._local = slice(process * local_size, (process + 1) * local_size)
        self._sources = [_Source(source, label_names) for source in sampler.sources]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a reading process ignore Ctrl-C, which a terminal sends to all processes of a run.

        The run's first process then saves, and ends the others.
        """
        vars(self).update(state)
        is_reader = multiprocessing.parent_process() is not None
        if is_reader and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        indices = self._sampler.sample(step)
        here = BatchIndices(**{name: rows[self._local] for name, rows in vars(indices).items()})
        if len(self._sources) == 1:
            return self._sources[0].read(here)
        batch: dict[str, np.ndarray] = {}
        for number in np.unique(here.source):
            rows = np.flatnonzero(here.source == number)
            part = BatchIndices(**{name: x[rows] for name, x in vars(here).items()})
            for name, values in self._sources[number].read(part).items():
                if name not in batch:
                    batch[name] = np.empty((len(here.row), *values.shape[1:]), values.dtype)
                batch[name][rows] = values
        return batch


class _Source:
    """Reads rows of batches from one data set."""

    def __init__(self, sampler: BatchSampler, label_names: tuple[str, ...]):
        self._sampler = sampler
        self._index = sampler.index
        self._reader = raw.Reader(sampler.index)
        # The training step identifies leads by their position in the standard order, whatever the
        # data set's order; other leads of the data set are never sampled.
        position = {name: i for i, name in enumerate(leads.STANDARD_12)}
        self._standard = np.array([position.get(name, -1) for name in sampler.index.lead_names])
        self._labels = label_lib.find(sampler.index, label_names)

    def read(self, indices: BatchIndices) -> dict[str, np.ndarray]:
        """Returns the arrays of some rows, of which all are from this data set."""
        row, lead, index = indices.row, indices.lead, self._index
        # Without starts the reader slices both leads of a record at once.
        start = indices.start if self._sampler.random_start else None
        position = index.position(row)
        batch = {
            # int16[b, 2, T]
            "adc": self._reader.read(row, lead, self._sampler.num_samples, start),
            "gain_per_mv": np.take_along_axis(index.gain_per_mv[position], lead, axis=1),
            "baseline": np.take_along_axis(index.baseline[position], lead, axis=1),
            "lead": self._standard[lead].astype(np.int32),
            "risk": index.risk[position],
            "completeness": index.completeness[position],
        }
        return batch | self._stored_length(batch["adc"]) | self._label_arrays(row)

    def _stored_length(self, adc: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the padded windows and the number of their length, if the step resamples them.

        All windows of a batch are padded to the longest one, so that its shape is the same for
        every step, whatever the data sets of its rows are; the step drops the padding.
        """
        known = self._sampler.stored_samples
        if not known:
            return {}
        missing = known[-1] - adc.shape[-1]
        number = np.full(len(adc), known.index(adc.shape[-1]), np.int32)
        padding = [(0, 0), (0, 0), (0, missing)]
        padded = np.pad(adc, padding, constant_values=MISSING_ADC) if missing else adc
        return {"adc": padded, "stored_length": number}

    def _label_arrays(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Returns an array, float32 [b, K], for each label that the objective requests."""
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
    data: TrainingData | index_lib.Index, config: TrainConfig, *, batch_size: int | None = None
) -> Sampler:
    """Returns the sampler of a run, without reading records.

    Args:
        data: data sets of the run, or the index of a split of the only one.
        config: settings of the run.
        batch_size: patients per step; by default `config.global_batch_size`.

    Raises:
        UserError: as `BatchSampler` and `MixedSampler`.
    """
    if isinstance(data, index_lib.Index):
        data = training_data.of_indexes([data], config)
    return training_data.make_sampler(data, config, batch_size=batch_size)


def sampled_risk(sampler: Sampler, step: int) -> np.ndarray:
    """Returns the risk of the patients of a step, float32 [B]."""
    indices = sampler.sample(step)
    risk = np.empty(len(indices.row), np.float32)
    for number, source in enumerate(sampler.sources):
        rows, index = indices.source == number, source.index
        risk[rows] = index.risk[index.position(indices.row[rows])]
    return risk


def sampled_records(sampler: Sampler, step: int) -> list[str]:
    """Returns the record ids of a step; in a run on several data sets after the data set's name."""
    indices = sampler.sample(step)
    ids = [""] * len(indices.row)
    for number, source in enumerate(sampler.sources):
        rows = np.flatnonzero(indices.source == number)
        before = f"{source.index.dataset}:" if len(sampler.sources) > 1 else ""
        texts = raw.Reader(source.index).texts(indices.row[rows], "record_id")
        for row, text in zip(rows, texts, strict=True):
            ids[row] = before + text
    return ids


def make_batches(
    sampler: Sampler, config: TrainConfig, *, first_step: int
) -> Iterator[dict[str, np.ndarray]]:
    """Returns an endless iterator over this process's rows of the batches from `first_step` on.

    It yields `adc`, int16 [b, 2, T] in ADC units, whose lowest value means missing; `gain_per_mv`
    and `baseline` [b, 2]; `lead` [b, 2], positions in `leads.STANDARD_12`; `risk` and
    `completeness` [b]; `label:NAME`, float32 [b, K], for each label that the objective requests;
    and, if the step resamples, `stored_length`, int32 [b], the number of the length of each row's
    windows among `sampler.stored_samples`. Longer rows of `adc` are then padded by missing samples.
    """
    import grain  # takes half a second to import, and only training needs it
    from absl import flags

    source = _Batches(sampler, jax.process_index(), jax.process_count(), config.label_names)
    steps = grain.MapDataset.range(first_step, np.iinfo(np.int64).max)
    # Batches are independent of each other, so threads and processes hold no state, and a run can
    # resume with other numbers of them.
    if not config.read_processes:
        options = grain.ReadOptions(
            num_threads=config.read_threads, prefetch_buffer_size=config.read_ahead_batches
        )
        return iter(steps.map(source.__getitem__).to_iter_dataset(options))
    each = max(1, config.read_ahead_batches // config.read_processes)
    flags.FLAGS.mark_as_parsed()  # grain passes absl's flags to its processes; none are set here
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
                "ran out of memory, use fewer --read-processes or --read-ahead-batches."
            ) from error
