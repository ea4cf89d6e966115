"""Probabilities at another prevalence are those of Bayes' theorem."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.answers import prevalence as prevalence_lib

NAMES = ("AF", "block")
ASSUMED = np.array([0.5, 0.1])


def test_a_likelihood_ratio_is_kept():
    found = prevalence_lib.correct(
        "multilabel", np.array([[0.9, 0.1]]), np.array([0.5, 0.1]), np.array([0.01, 0.1])
    )
    ratio = 0.9 / 0.1  # of the likelihoods; the assumed odds are 1
    np.testing.assert_allclose(found, [[ratio * 0.01 / (ratio * 0.01 + 0.99), 0.1]])


def test_classes_are_weighted_and_sum_to_1():
    probability = np.array([[0.2, 0.3, 0.5]])
    assumed, new = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    found = prevalence_lib.correct("multiclass", probability, assumed, new)
    np.testing.assert_allclose(found, [[0.6, 0.3, 0.1]])


def test_the_correction_goes_back():
    probability = np.random.default_rng(0).random((9, 2))
    there = prevalence_lib.correct("multilabel", probability, ASSUMED, np.array([0.02, 0.7]))
    back = prevalence_lib.correct("multilabel", there, np.array([0.02, 0.7]), ASSUMED)
    np.testing.assert_allclose(back, probability)


@pytest.mark.parametrize(
    ("given", "kind", "names", "want"),
    [
        (["0.02"], "binary", ("AF",), [0.02]),
        (["AF=0.02"], "multilabel", NAMES, [0.02, 0.1]),
        (["block=0.3", "AF=0.02"], "multilabel", NAMES, [0.02, 0.3]),
        (["a=b=0.3"], "binary", ("a=b",), [0.3]),
        (["sinus=0.9"], "multiclass", ("AF", "other", "sinus"), [0.04, 0.06, 0.9]),
        (["sinus=0.9", "AF=0.06", "other=0.04"], "multiclass", ("AF", "other", "sinus"), None),
    ],
)
def test_what_is_given_replaces_what_is_assumed(given, kind, names, want):
    assumed = {1: [0.1], 2: [0.5, 0.1], 3: [0.2, 0.3, 0.5]}[len(names)]
    found = prevalence_lib.parse(given, kind, names, np.array(assumed))
    np.testing.assert_allclose(found, [0.06, 0.04, 0.9] if want is None else want)


@pytest.mark.parametrize(
    ("given", "kind", "culprit", "problem"),
    [
        (["0.02"], "multilabel", "0.02", "wrong_prevalence"),
        (["AF=2"], "multilabel", "AF=2", "wrong_prevalence"),
        (["AF=0"], "multilabel", "AF=0", "wrong_prevalence"),
        (["AF=two"], "multilabel", "AF=two", "wrong_prevalence"),
        (["flutter=0.2"], "multilabel", "flutter", "unknown_output"),
        (["AF=0.2", "block=0.9"], "multiclass", "-0.1", "wrong_prevalence"),
        (["AF=0.2"], "regression", "--prevalence", "no_prevalence"),
    ],
)
def test_a_wrong_prevalence_is_named(given, kind, culprit, problem):
    with refuses(culprit, problem=problem):
        prevalence_lib.parse(given, kind, NAMES, ASSUMED)


def test_an_unknown_assumption_cannot_be_corrected():
    with refuses("--prevalence", problem="no_prevalence"):
        prevalence_lib.parse(["AF=0.2"], "multilabel", NAMES, None)
