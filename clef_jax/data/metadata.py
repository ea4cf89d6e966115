"""What is known about stored recordings, without their samples: ids, clinical values, labels."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.data.record import OBSERVED_NAMES

_TEXTS = ("patient_id", "record_id", "source_record", "recorded_at")
_NUMBERS = (*OBSERVED_NAMES, "risk", "completeness")


def read(serialized: bytes, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of a serialized record, as TFDS would give them.

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


def to_json(facts: Mapping[str, Any]) -> str:
    """One line that `from_json` turns back into the same."""
    return json.dumps({name: _plain(value) for name, value in facts.items()})


def from_json(line: str) -> dict[str, Any]:
    """The facts that `to_json` wrote."""
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
