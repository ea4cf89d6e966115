"""Reads the metadata of stored recordings: ids, clinical values and labels, but no samples."""

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.data import index as index_lib, raw
from clef_jax.data.record import OBSERVED_NAMES

_TEXTS = ("patient_id", "record_id", "source_record", "recorded_at")
_NUMBERS = (*OBSERVED_NAMES, "risk", "completeness")
FIELDS = (*_TEXTS, "start_sample", *_NUMBERS)
"""Names of the metadata that every data set stores; labels are those of a data set."""
_READ_TOGETHER = 64
"""Number of records that are read at a time."""
_FORMAT = 1


def load(index: index_lib.Index, cache_dir: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """Returns the metadata of every recording of a split, in the order of the index.

    Reading it takes a pass over all shards, so it can be cached.

    Args:
        cache_dir: folder for a cache file, whose name identifies the data; by default nothing is
            cached. A damaged cache is replaced.

    Raises:
        UserError: a shard cannot be read, or the cache cannot be written.
    """
    if cache_dir is None:
        return list(read_records(index, np.arange(index.num_records)))
    key = json.dumps((_FORMAT, index.fingerprint, index.dataset, index.split))
    path = cache_dir / f"metadata_{hashlib.sha256(key.encode()).hexdigest()[:32]}.jsonl"
    cached = _read_cache(path)
    if cached is not None and len(cached) == index.num_records:
        return cached
    files.make_folder(cache_dir)
    metadata = []
    with files.atomic_file(path) as half, half.open("w") as lines:
        for values in read_records(index, np.arange(index.num_records)):
            metadata.append(values)
            lines.write(to_json(values) + "\n")
    return metadata


def _read_cache(path: pathlib.Path) -> list[dict[str, Any]] | None:
    """Returns the metadata in a cache file; None if it does not exist or is damaged."""
    try:
        with path.open() as lines:
            return [from_json(line) for line in lines]
    except (OSError, ValueError, AttributeError):
        return None


def read_records(index: index_lib.Index, positions: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields the metadata of some recordings of a split.

    Args:
        positions: int [N], positions in the arrays of the index.
    """
    labels = index_lib.read_metadata(index.version_dir)["labels"]
    reader = raw.Reader(index)
    for start in range(0, len(positions), _READ_TOGETHER):
        rows = index.row[positions[start : start + _READ_TOGETHER]]
        for record in reader.records(rows):
            yield read(record, labels)


def read(serialized: bytes, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the metadata of a serialized record, with the values that TFDS would return.

    Args:
        serialized: a serialized `tf.train.Example`.
        labels: the data set's labels, as `clef_index.json` describes them.

    Returns:
        A value for each name: text as bytes, numbers as np.float32, sequences as lists.
    """
    from tensorflow_datasets.proto import tf_example_pb2  # half a second to import

    parser = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
    feature = parser.FromString(serialized).features.feature
    values: dict[str, Any] = {name: _text(feature[name]) for name in _TEXTS}
    values["start_sample"] = int(feature["start_sample"].int64_list.value[0])
    values |= {name: _number(feature[name]) for name in _NUMBERS}
    for label in labels:
        value = feature[label["name"]]
        values[label["name"]] = {
            "class": _text,
            "classes": lambda v: list(v.bytes_list.value),
            "number": _number,
            "numbers": lambda v: [np.float32(x) for x in v.float_list.value],
        }[label["kind"]](value)
    return values


def _text(feature: Any) -> bytes:
    return feature.bytes_list.value[0]


def _number(feature: Any) -> np.float32:
    return np.float32(feature.float_list.value[0])


def to_json(values: Mapping[str, Any]) -> str:
    """Returns metadata as one line of JSON, from which `from_json` restores the same values."""
    return json.dumps({name: _plain(value) for name, value in values.items()})


def from_json(line: str) -> dict[str, Any]:
    """Returns the metadata of a line that `to_json` returned."""
    return {name: _typed(value) for name, value in json.loads(line).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return float(value) if isinstance(value, np.floating) else value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str):
        return value.encode()
    return np.float32(value) if isinstance(value, float) else value
