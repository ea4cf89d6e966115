"""Thresholds reach what they are chosen for, on every small data set."""

import itertools

import numpy as np
import pytest
from culprits import refuses

from clef_jax.answers import threshold as threshold_lib
from clef_jax.answers.threshold import Rule

SCORES = np.array([0.1, 0.4, 0.4, 0.7, 0.9])
CASES = [np.array(case, float) for case in itertools.product([0, 1], repeat=5) if 0 < sum(case) < 5]


def achieved(target, threshold):
    found = threshold_lib.measure(target[:, None], SCORES[:, None], np.array([threshold]))
    return float(found.sensitivity[0]), float(found.specificity[0])


def choose(target, rule):
    return float(threshold_lib.choose(target[:, None], SCORES[:, None], rule)[0])


@pytest.mark.parametrize("target", CASES)
def test_no_other_threshold_is_better(target):
    every = [achieved(target, value) for value in (0, 0.2, 0.5, 0.8, 0.99)]
    assert sum(achieved(target, choose(target, Rule()))) == max(map(sum, every))
    for wanted in (0.3, 0.5, 0.75, 0.99):
        sensitivity, specificity = achieved(target, choose(target, Rule("sensitivity", wanted)))
        assert sensitivity >= wanted
        assert specificity == max(other for reached, other in every if reached >= wanted)
        sensitivity, specificity = achieved(target, choose(target, Rule("specificity", wanted)))
        assert specificity >= wanted
        assert sensitivity == max(reached for reached, other in every if other >= wanted)


def test_a_threshold_lies_between_two_probabilities():
    assert choose(np.array([0.0, 0, 0, 1, 1]), Rule()) == pytest.approx(0.55)


def test_neighbouring_probabilities_are_told_apart():
    low = 0.3
    pair = np.array([[low], [np.nextafter(low, 1)]])
    found = threshold_lib.choose(np.array([[0.0], [1.0]]), pair)
    np.testing.assert_array_equal(pair >= found, [[False], [True]])


def test_an_output_without_both_classes_has_the_middle():
    found = threshold_lib.choose(np.ones((3, 1)), np.array([[0.2], [0.3], [0.4]]))
    np.testing.assert_array_equal(found, [0.5])
    assert np.isnan(threshold_lib.measure(np.ones((3, 1)), np.ones((3, 1)), found).specificity[0])


@pytest.mark.parametrize(
    "rule",
    [("sensitivity", None), ("sensitivity", 1.0), ("specificity", 95), ("balanced", 0.9), ("f1",)],
)
def test_an_impossible_rule_is_refused(rule):
    with refuses(rule[0], problem="wrong_rule"):
        Rule(*rule)
