"""Reads signals of prepared records fast: slices them out of the stored bytes without parsing.

Decoding complete examples would take several times the CPU time that training has per record.
Shapes: n records, k leads of each, L stored leads, T time.
"""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax.data.index import Index
from clef_jax.errors import UserError, counted, invocation

# With random access, reading ahead only takes time.
_READER_OPTIONS = "readahead_buffer_size:0"
_GROUP_RECORDS = 16
"""Number of records that are decompressed at a time. Groups of this size reuse their memory; the
memory of a complete batch would be returned to the system and allocated again, which takes a fifth
of the time."""


def feature(serialized: bytes, name: str) -> memoryview:
    """Returns the first value of a bytes feature of a serialized `tf.train.Example`, uncopied.

    Walks the map's entries by their lengths; a message of another structure is parsed.

    Raises:
        KeyError: the example has no such bytes feature.
    """
    value = _walk(serialized, name.encode())
    return _parse(serialized, name) if value is None else value


def _walk(data: bytes, key: bytes) -> memoryview | None:
    """Returns the value of a key, or None if the message has another structure than this.

    Example = {1: {1: entry}*}, entry = {1: key, 2: {1: {1: value}}}, by field numbers.
    """
    try:
        position = _enter(data, 0)[0]
        while position < len(data):
            start, position = _enter(data, position)
            key_start, key_end = _enter(data, start)
            if data[key_start:key_end] != key:
                continue
            if data[key_end] != 0x12:
                return None
            _, value_start = _varint(data, key_end + 1)
            list_start, _ = _enter(data, value_start)
            first, end = _enter(data, list_start)
            return memoryview(data)[first:end] if end <= position else None
    except (IndexError, ValueError):
        return None
    return None


def _enter(data: bytes, position: int) -> tuple[int, int]:
    """Returns the bounds of the content of field 1, which must start at `position`."""
    if data[position] != 0x0A:
        raise ValueError("not a length-delimited field 1")
    length, start = _varint(data, position + 1)
    return start, start + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _parse(serialized: bytes, name: str) -> memoryview:
    from tensorflow_datasets.proto import tf_example_pb2

    parser = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
    example = parser.FromString(serialized)
    values = example.features.feature[name].bytes_list.value
    if not values:
        raise KeyError(f"The record has no bytes feature {name!r}.")
    return memoryview(values[0])


def signal_view(serialized: bytes, num_leads: int) -> np.ndarray:
    """Returns the signal of a serialized record, int16 [L, T], without copying it."""
    return np.frombuffer(feature(serialized, "signal"), "<i2").reshape(num_leads, -1)


def slice_leads(
    records: Sequence[bytes],
    leads: np.ndarray,
    signal_shape: tuple[int, int],
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Returns samples, int16 [n, k, T], of some leads of serialized records.

    Args:
        records: n serialized records of L leads.
        leads: [n, k], lead numbers for each record.
        signal_shape: (L, T), the number of stored leads and of samples to return.
        start: [n, k], first sample of each lead; by default the record's first sample.
    """
    num_leads, num_samples = signal_shape
    out = np.empty((*leads.shape, num_samples), np.int16)
    for i, (record, numbers) in enumerate(zip(records, leads, strict=True)):
        signal = signal_view(record, num_leads)
        if start is None:
            out[i] = signal[numbers, :num_samples]
            continue
        for j, (lead, first) in enumerate(zip(numbers, start[i], strict=True)):
            out[i, j] = signal[lead, first : first + num_samples]
    return out


class Reader:
    """Reads records of one split by row. It is cheap to create and to pickle, and opens shards on
    demand."""

    def __init__(self, index: Index):
        self._index = index
        self._shard_end = np.cumsum(index.shard_lengths)
        self._shards: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> Index:
        return self._index

    def __setstate__(self, index: Index) -> None:
        Reader.__init__(self, index)

    def records(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns the serialized records at some rows, in this order; reads each shard once.

        Raises:
            IndexError: a row is not in the split.
            UserError: a shard cannot be read.
        """
        rows = np.asarray(rows, np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < self._shard_end[-1]):
            raise IndexError(
                f"Rows {rows.min()} to {rows.max()} exceed the split's {self._shard_end[-1]} "
                "records."
            )
        shards = np.searchsorted(self._shard_end, rows, side="right")
        positions = rows - (self._shard_end - self._index.shard_lengths)[shards]
        order = np.argsort(shards, kind="stable")
        out: list[bytes] = [b""] * len(rows)
        for group in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(group):
                records = self._read(int(shards[group[0]]), positions[group].tolist())
                for number, record in zip(group, records, strict=True):
                    out[number] = record
        return out

    def read(
        self,
        rows: Sequence[int] | np.ndarray,
        leads: Sequence[int] | np.ndarray,
        num_samples: int | None = None,
        start: np.ndarray | None = None,
    ) -> np.ndarray:
        """Reads some leads of some records.

        Args:
            rows: [n], positions in the split.
            leads: [n, k], lead numbers for each record, or [k], the same for all records.
            num_samples: T, number of samples; by default the length of the shortest record.
            start: [n, k], first sample of each lead; by default the record's first sample.

        Returns:
            Samples in ADC units, int16 [n, k, T]; the voltage in millivolts is
            `(x - index.baseline) / index.gain_per_mv`.

        Raises:
            IndexError: a row is not in the split.
            UserError: a shard cannot be read.
            ValueError: a record is shorter than `num_samples`.
        """
        rows, leads = np.asarray(rows, np.int64), np.asarray(leads, np.int64)
        leads = np.broadcast_to(leads, (len(rows), leads.shape[-1]))
        lengths = self._index.num_samples
        shortest = int((lengths[self._index.position(rows)] if len(rows) else lengths).min())
        num_samples = shortest if num_samples is None else num_samples
        if num_samples > shortest:
            raise ValueError(
                f"A record has {counted(shortest, 'sample')}, fewer than {num_samples:,}."
            )
        shape = (len(self._index.lead_names), num_samples)
        out = np.empty((*leads.shape, num_samples), np.int16)
        order = np.argsort(rows, kind="stable")  # records of a group are mostly in one shard
        for done in range(0, len(rows), _GROUP_RECORDS):
            group = order[done : done + _GROUP_RECORDS]
            first = None if start is None else start[group]
            out[group] = slice_leads(self.records(rows[group]), leads[group], shape, first)
        return out

    def texts(self, rows: Sequence[int] | np.ndarray, name: str = "record_id") -> list[str]:
        """Returns a text feature of some records, for example to name bad recordings in a log."""
        return [str(feature(record, name), "utf-8") for record in self.records(rows)]

    def _read(self, number: int, positions: list[int]) -> list[bytes]:
        try:
            return self._shard(number).read(positions)
        except (RuntimeError, IndexError) as error:
            raise UserError(
                f"The shard {self._index.shard_paths[number]} cannot be read: "
                f"{str(error).splitlines()[0]}. It is missing, damaged or truncated: restore it "
                "from a copy, or prepare the data set again. "
                f"{invocation('prepare --check')} verifies all shards.",
                problem="unreadable_shard",
            ) from error

    def _shard(self, number: int) -> Any:
        from array_record.python import (  # has no wheels for Windows
            array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
        )

        shard = self._shards.get(number)
        if shard is None:
            with self._lock:
                shard = self._shards.get(number)
                if shard is None:
                    shard = array_record_module.ArrayRecordReader(
                        self._index.shard_paths[number],
                        options=_READER_OPTIONS,
                        file_reader_buffer_size=32768,
                    )
                    self._shards[number] = shard
        return shard


@functools.lru_cache(maxsize=8)
def _reader(index: Index) -> Reader:
    return Reader(index)


def read_leads(
    index: Index, rows: Sequence[int] | np.ndarray, leads: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Calls `Reader.read`, and keeps the shards open between calls; returns int16 [n, k, T]."""
    return _reader(index).read(rows, leads)
