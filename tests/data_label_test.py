"""Tests that labels are encoded as columns, with NaN where unknown."""

import made_index
import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.data import label
from clef_jax.objectives import supervised

RHYTHM = {"name": "rhythm", "kind": "class", "classes": ["AF", "N"]}
FORMS = {"name": "forms", "kind": "classes", "classes": ["LBBB", "PVC", "RBBB"]}
AGE = {"name": "age", "kind": "number", "classes": []}


@pytest.mark.parametrize(
    ("described", "value", "want"),
    [
        (RHYTHM, b"AF", [1, 0]),
        (RHYTHM, b"", [np.nan, np.nan]),
        (FORMS, [b"PVC", b"RBBB"], [0, 1, 1]),
        (FORMS, [], [0, 0, 0]),
        (AGE, np.float32(61), [61]),
        (AGE, np.float32(np.nan), [np.nan]),
    ],
)
def test_a_label_has_a_column_for_each_class_or_number(described, value, want):
    encoded = label.encode(described, value)
    assert encoded.dtype == np.float32
    assert len(encoded) == label.width(described)
    np.testing.assert_array_equal(encoded, want)


def test_data_sets_must_define_a_label_alike(monkeypatch):
    stored = {"a": [RHYTHM, AGE], "b": [RHYTHM | {"classes": ["AF", "O"]}, AGE], "c": [AGE]}

    def read_metadata(version_dir):
        return {"labels": stored[version_dir.name]}

    monkeypatch.setattr(label.index_lib, "read_metadata", read_metadata)
    a, b, c = (made_index.make(name, 2) for name in "abc")
    settings = {"data_dir": "", "workdir": "", "objective": "supervised"}
    config = TrainConfig(**settings, objective_config=supervised.Config(labels=("rhythm",)))
    assert label.common_widths([a], config) == label.common_widths([a, a], config) == {"rhythm": 2}
    with refuses("rhythm", "b/1.0.0", problem="different_classes"):
        label.common_widths([a, b], config)
    with refuses("rhythm", "c/1.0.0", problem="unknown_label"):
        label.common_widths([a, c], config)
