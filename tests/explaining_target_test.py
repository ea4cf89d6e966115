"""The explained number is the log-odds or the value of one output."""

import dataclasses

import explained
import numpy as np
import pytest
import scipy.special

from clef_jax.answers import answer as answer_lib
from clef_jax.embedding.head import Calibration
from clef_jax.errors import UserError
from clef_jax.explaining import target as target_lib
from clef_jax.explaining.target import Target

FEATURES = np.random.default_rng(1).normal(size=(5, 16))
THREE = dataclasses.replace(
    explained.HEAD,
    kind="multiclass",
    names=("a", "b", "c"),
    weight=np.random.default_rng(2).normal(size=(3, 16)),
    bias=np.arange(3.0),
    centre=np.zeros(3),
    scale=np.ones(3),
    calibration=Calibration("temperature", np.full(3, 0.7), np.zeros(3)),
    threshold=None,
)
NUMBERS = dataclasses.replace(
    explained.HEAD,
    kind="regression",
    centre=np.array([3.0, 4.0]),
    scale=np.array([2.0, -5.0]),
    calibration=None,
    threshold=None,
)


@pytest.mark.parametrize("head", [explained.HEAD, THREE], ids=lambda head: head.kind)
def test_score_is_the_log_odds_of_the_calibrated_probability(head):
    probability = answer_lib.answer(head, FEATURES).probabilities
    for number in range(len(head.names)):
        found = Target(head, number).score(FEATURES)
        np.testing.assert_allclose(found, scipy.special.logit(probability[:, number]), atol=1e-9)


def test_score_of_a_regression_is_its_value():
    value = answer_lib.answer(NUMBERS, FEATURES).values
    target = Target(NUMBERS, 1)
    np.testing.assert_allclose(target.score(FEATURES), value[:, 1])
    assert (target.unit, target.name) == ("value", "block")


def test_isotonic_calibration_is_left_out():
    knots = np.array([[-1.0, 1.0]] * 2)
    steps = Calibration("isotonic", None, None, knots, np.array([[0.1, 0.9]] * 2))
    head = dataclasses.replace(explained.HEAD, calibration=steps)
    found = Target(head, 0).score(FEATURES)
    np.testing.assert_allclose(found, answer_lib.logits(head, FEATURES)[:, 0])


def test_output_is_the_named_or_the_most_probable_one():
    assert target_lib.choose(explained.HEAD, None, np.array([0.2, 0.4])).name == "block"
    assert target_lib.choose(explained.HEAD, "AF", np.array([0.2, 0.4])).name == "AF"
    for head, name, problem in (
        (explained.HEAD, "aff", "unknown_output"),
        (NUMBERS, None, "several_outputs"),
    ):
        with pytest.raises(UserError) as raised:
            target_lib.choose(head, name, np.zeros(2))
        assert raised.value.problem == problem
