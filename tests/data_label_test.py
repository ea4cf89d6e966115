"""Labels become columns, and what is unknown is NaN."""

import numpy as np
import pytest

from clef_jax.data import label

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
