"""Heads are the same in files as in the model, and those that files cannot compute are refused."""

import dataclasses
import json

import head_examples
import numpy as np
import pytest
from culprits import refuses

from clef_jax.convert import exported_head
from clef_jax.embedding.head import Calibration

FEATURES = np.random.default_rng(0).standard_normal((50, head_examples.WIDTH)).astype(np.float32)


@pytest.mark.parametrize("head", [head_examples.WITH_CLASSICAL, head_examples.ATTENTION])
def test_what_reads_more_than_the_embedding_is_refused(head):
    with refuses(problem="head_not_exportable"):
        exported_head.fold(head)


@pytest.mark.parametrize("name", head_examples.ALL)
def test_the_metadata_is_enough_to_decide(name):
    head = head_examples.ALL[name]
    about = json.loads(json.dumps(exported_head.describe(head)))
    output = exported_head.answers(head, FEATURES)
    decided = exported_head.decisions(head, output)
    assert about["names"] == list(head.names)
    assert about["fingerprint"]
    if about["decision"] == "none":
        assert decided is None
    elif about["decision"] == "largest":
        np.testing.assert_array_equal(decided.argmax(1), output.argmax(1))
    else:
        np.testing.assert_array_equal(decided, output >= np.array(about["thresholds"]))


@pytest.mark.parametrize("name", head_examples.ALL)
def test_answers_that_rounding_does_not_explain_are_refused(name):
    head = head_examples.ALL[name]
    output = exported_head.answers(head, FEATURES)
    assert exported_head.check(head, FEATURES, 1e-7, output) == 0
    output[3, 1] += 1e-3 * head.scale[1]
    with refuses(problem="answers_differ"):
        exported_head.check(head, FEATURES, 1e-7, output)
    output[3, 1] = np.nan
    with refuses(problem="answers_differ"):
        exported_head.check(head, FEATURES, 1e-7, output)


def test_a_steep_calibration_explains_more():
    knots, levels = np.array([[0.0, 1e-5]] * 2), np.array([[0.1, 0.9]] * 2)
    steep = Calibration("isotonic", knot_logits=knots, knot_probabilities=levels)
    head = dataclasses.replace(head_examples.PLATT, calibration=steep)
    wanted = 5e-6 - head.bias - FEATURES @ head.weight.T  # logits in the middle of the step
    features = FEATURES + wanted @ np.linalg.pinv(head.weight.T)
    moved = exported_head.answers(head, features + 1e-7)
    assert np.abs(moved - exported_head.answers(head, features)).max() > 1e-3
    assert exported_head.check(head, features, 1e-7, moved) > 1e-3
