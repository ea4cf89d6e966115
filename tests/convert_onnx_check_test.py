"""Files with fewer bits are kept only if embeddings and decisions agree."""

import dataclasses

import numpy as np
import pytest
from culprits import refuses

from clef_jax.convert import onnx_check

FINE = onnx_check.Agreement(
    num_windows=200,
    smallest_cosine=0.9999,
    smallest_centred_cosine=0.995,
    largest_difference=0.1,
    relative_difference=0.01,
    largest_answer_difference=0.02,
    flipped=0.01,
)


@pytest.mark.parametrize("changes", [{}, {"flipped": None, "largest_answer_difference": None}])
def test_small_differences_are_accepted(changes):
    onnx_check.require(dataclasses.replace(FINE, **changes), "m.onnx")


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"smallest_centred_cosine": 0.98765}, "0.9877"),
        ({"smallest_centred_cosine": np.nan}, "nan"),
        ({"flipped": 0.025}, "2.5 %"),
        ({"flipped": np.nan}, "nan"),
    ],
)
def test_large_differences_are_refused_with_the_figure(changes, culprit):
    with refuses("m.onnx", culprit, problem="quantised_differs"):
        onnx_check.require(dataclasses.replace(FINE, **changes), "m.onnx")


def test_decisions_are_compared():
    some = np.array([[0.1, 0.6], [0.8, 0.4], [0.3, 0.3]])
    others = np.array([[0.1, 0.6], [0.3, 0.4], [0.3, 0.3]])
    thresholds = {"decision": "at least threshold", "thresholds": [0.5, 0.5]}
    assert onnx_check.flipped(thresholds, some, others) == pytest.approx(1 / 6)
    assert onnx_check.flipped({"decision": "largest"}, some, others) == pytest.approx(1 / 3)
    assert onnx_check.flipped({"decision": "none"}, some, others) is None
    assert onnx_check.flipped(thresholds, some, np.full((3, 2), np.nan)) == 1
