"""Answers follow from a head's arrays, and say what the head was fitted to."""

import dataclasses

import numpy as np
import pytest
import scipy.special

from clef_jax.answers import answer as answer_lib, intended_use
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding.head import Calibration, Head

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 3))


def make(kind="multilabel", **changes):
    values = {
        "weight": RNG.normal(size=(2, 3)),
        "bias": RNG.normal(size=2),
        "names": ("AF", "block"),
        "layer": "stage_2",
        "kind": kind,
        "centre": np.zeros(2),
        "scale": np.ones(2),
    }
    return Head(**values | changes)


def test_probabilities_are_calibrated_and_decided():
    calibration = Calibration("platt", np.array([0.5, 2.0]), np.array([0.1, -0.1]))
    head = make(calibration=calibration, threshold=np.array([0.3, 0.6]))
    found = answer_lib.answer(head, FEATURES)
    logits = FEATURES @ head.weight.T + head.bias
    want = scipy.special.expit(logits * [0.5, 2.0] + [0.1, -0.1])
    np.testing.assert_allclose(found.probabilities, want)
    np.testing.assert_array_equal(found.decisions, want >= [0.3, 0.6])
    assert found.values is None


def test_another_prevalence_moves_probabilities_and_thresholds_alike():
    head = make(threshold=np.array([0.3, 0.6]), prevalence=np.array([0.5, 0.2]))
    before = answer_lib.answer(head, FEATURES)
    after = answer_lib.answer(head, FEATURES, np.array([0.01, 0.2]))
    assert (after.probabilities[:, 0] < before.probabilities[:, 0]).all()
    np.testing.assert_allclose(after.probabilities[:, 1], before.probabilities[:, 1])
    np.testing.assert_array_equal(after.decisions, before.decisions)
    np.testing.assert_array_equal(before.prevalence, [0.5, 0.2])
    np.testing.assert_array_equal(after.prevalence, [0.01, 0.2])


def test_the_most_probable_class_is_decided():
    found = answer_lib.answer(make("multiclass"), FEATURES)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(
        found.decisions.argmax(axis=1), found.probabilities.argmax(axis=1)
    )
    np.testing.assert_array_equal(found.decisions.sum(axis=1), 1)


def test_a_head_without_thresholds_decides_nothing():
    found = answer_lib.answer(Head.of_classes(np.ones((2, 3)), np.zeros(2), layer="x"), FEATURES)
    assert found.decisions is None
    assert found.prevalence is None
    assert found.names == ("class_0", "class_1")


def test_values_have_intervals():
    head = make(
        "regression",
        centre=np.array([120.0, 80.0]),
        scale=np.array([10.0, 5.0]),
        half_width=np.array([12.0, 9.0]),
        coverage=0.9,
    )
    found = answer_lib.answer(head, FEATURES[0])
    want = (head.weight @ FEATURES[0] + head.bias) * head.scale + head.centre
    np.testing.assert_allclose(found.values, want)
    np.testing.assert_allclose(found.upper - found.values, [12, 9])
    np.testing.assert_allclose(found.values - found.lower, [12, 9])
    assert (found.probabilities, found.decisions, found.coverage) == (None, None, 0.9)
    bare = dataclasses.replace(head, half_width=None, coverage=None)
    assert answer_lib.answer(bare, FEATURES).lower is None


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_features_that_are_missing_have_no_answer(kind):
    features = FEATURES.copy()
    features[1] = np.nan
    head = make(kind, threshold=None if kind != "multilabel" else np.array([0.5, 0.5]))
    found = answer_lib.answer(head, features)
    for array in (found.probabilities, found.decisions, found.values):
        if array is not None:
            np.testing.assert_array_equal(np.isnan(array).all(axis=1), np.arange(5) == 1)


def test_the_digest_changes_with_the_answers():
    head = make(threshold=np.array([0.3, 0.6]))
    others = [
        dataclasses.replace(head, threshold=np.array([0.3, 0.7])),
        dataclasses.replace(head, bias=head.bias + 1e-6),
        dataclasses.replace(head, names=("AF", "BBB")),
        dataclasses.replace(head, calibration=Calibration("platt", np.ones(2), np.zeros(2))),
    ]
    digests = {answer_lib.fingerprint(x) for x in (head, dataclasses.replace(head), *others)}
    assert len(digests) == 1 + len(others)


FITTED = Fitted(
    recordings=1200,
    patients=800,
    positives={"AF": 96, "block": 12},
    leads=("I", "II"),
    sample_rate_hz=(250.0, 300.0),
    age_years=(18.0, 89.0),
    split="5 folds by patient",
)


def test_facts_survive_the_file():
    assert Fitted.from_json(FITTED.to_json()) == FITTED
    assert Fitted.from_json(None) == Fitted()
    assert Fitted.from_json({"leads": "I", "sample_rate_hz": [1], "patients": True}) == Fitted()


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"sample_rate_hz": 250.0, "lead": "I", "age_years": 50.0}, ()),
        ({"sample_rate_hz": 300.0001, "lead": "MLII"}, ()),
        ({"sample_rate_hz": 500.0}, ("unfitted_rate",)),
        ({"sample_rate_hz": 128.0, "lead": "V5"}, ("unfitted_rate", "unfitted_lead")),
        ({"sample_rate_hz": 250.0, "age_years": 4.0}, ("unfitted_age",)),
        ({"sample_rate_hz": 250.0, "lead": "", "age_years": None}, ()),
    ],
)
def test_what_the_head_was_not_fitted_to_is_flagged(given, want):
    assert FITTED.outside(**given) == want
    assert Fitted().outside(**given) == ()
    sentences = FITTED.describe(want)
    assert len(sentences) == len(want)
    assert not any("4" in sentence for sentence in sentences)  # the age is not repeated


def test_limits_state_numbers_and_assumptions():
    head = make(fitted=FITTED.to_json(), prevalence=np.array([0.08, 0.01]))
    said = " ".join(intended_use.limits(head))
    for culprit in (
        "1,200",
        "800",
        "96 AF",
        "lead I, II",
        "250",
        "18",
        "0.08 for AF",
        "not calibrated",
    ):
        assert culprit in said
    assert "not known" in " ".join(intended_use.limits(make("regression")))
