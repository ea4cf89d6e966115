"""What is known about stored recordings, without their samples: ids, clinical values, labels."""

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
_READ_TOGETHER = 64
"""Records that are read at a time."""
_FORMAT = 1


def load(index: index_lib.Index, cache_dir: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """Returns the metadata of every recording of a split, in the order of the index.

    Reading them takes a pass over the shards, so they are kept in a folder.

    Args:
        cache_dir: a folder for a file that is named after the data; by default nothing is kept.
    """
    if cache_dir is None:
        return list(read_records(index, np.arange(index.num_records)))
    key = json.dumps((_FORMAT, index.fingerprint, index.dataset, index.split))
    path = cache_dir / f"metadata_{hashlib.sha256(key.encode()).hexdigest()[:32]}.jsonl"
    if not path.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with files.appearing(path) as half, half.open("w") as lines:
            for values in read_records(index, np.arange(index.num_records)):
                lines.write(to_json(values) + "\n")
    with path.open() as lines:
        return [from_json(line) for line in lines]


def read_records(index: index_lib.Index, positions: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields the metadata of some recordings of a split.

    Args:
        positions: int [N], places in the index.
    """
    labels = index_lib.read_metadata(index.version_dir)["labels"]
    reader = raw.Reader(index)
    for start in range(0, len(positions), _READ_TOGETHER):
        rows = index.row[positions[start : start + _READ_TOGETHER]]
        for record in reader.records(rows):
            yield read(record, labels)


def read(serialized: bytes, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the metadata of a serialized record, as TFDS would give them.

    Args:
        labels: of the data set, as `clef_index.json` describes them.

    Returns:
        Text as bytes, numbers as np.float32, sequences as lists.
    """
    from tensorflow_datasets.proto import tf_example_pb2  # half a second to import

    parser = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
    feature = parser.FromString(serialized).features.feature
    found: dict[str, Any] = {name: _text(feature[name]) for name in _TEXTS}
    found["start_sample"] = int(feature["start_sample"].int64_list.value[0])
    found |= {name: _number(feature[name]) for name in _NUMBERS}
    for label in labels:
        value = feature[label["name"]]
        found[label["name"]] = {
            "class": _text,
            "classes": lambda v: list(v.bytes_list.value),
            "number": _number,
            "numbers": lambda v: [np.float32(x) for x in v.float_list.value],
        }[label["kind"]](value)
    return found


def _text(feature: Any) -> bytes:
    return feature.bytes_list.value[0]


def _number(feature: Any) -> np.float32:
    return np.float32(feature.float_list.value[0])


def to_json(values: Mapping[str, Any]) -> str:
    """Returns one line, which `from_json` turns back into the same."""
    return json.dumps({name: _plain(value) for name, value in values.items()})


def from_json(line: str) -> dict[str, Any]:
    """Returns the metadata that `to_json` wrote."""
    return {name: _typed(value) for name, value in json.loads(line).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode()
    return float(value) if isinstance(value, np.floating) else value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(one) for one in value]
    if isinstance(value, str):
        return value.encode()
    return np.float32(value) if isinstance(value, float) else value
