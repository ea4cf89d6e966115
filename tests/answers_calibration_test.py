"""A calibration recovers a known distortion, and never reverses the order of recordings."""

import numpy as np
import pytest
import scipy.special

from clef_jax.answers import calibration as calibration_lib
from clef_jax.embedding.head import Calibration

RNG = np.random.default_rng(0)
NUM = 20_000


def overconfident(slope=3.0, shift=1.0):
    """Logits of two outputs that are `slope` times as far from 0 as they should be, and shifted."""
    honest = RNG.normal(-1.0, 1.5, (NUM, 2))
    target = (RNG.random((NUM, 2)) < scipy.special.expit(honest)).astype(float)
    return slope * honest + shift, target


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_known_distortion_is_undone(method):
    logits, target = overconfident()
    fitted = calibration_lib.fit(method, "multilabel", logits, target)
    want = scipy.special.expit((logits - 1.0) / 3.0)
    found = calibration_lib.probabilities("multilabel", logits, fitted)
    assert np.abs(found - want).mean() < 0.02
    before = calibration_lib.measure(target, calibration_lib.probabilities("multilabel", logits))
    after = calibration_lib.measure(target, found)
    assert (after.expected_error < 0.02).all()
    assert (after.expected_error < 0.2 * before.expected_error).all()
    assert (after.brier < before.brier).all()


def test_platt_finds_slope_and_intercept():
    logits, target = overconfident()
    fitted = calibration_lib.fit("platt", "multilabel", logits, target)
    np.testing.assert_allclose(fitted.slope, 1 / 3, rtol=0.06)
    np.testing.assert_allclose(fitted.intercept, -1 / 3, atol=0.06)


def test_a_temperature_finds_the_scale_alone():
    logits, target = overconfident(slope=2.5, shift=0.0)
    fitted = calibration_lib.fit("temperature", "binary", logits[:, :1], target[:, :1])
    np.testing.assert_allclose(fitted.slope, 1 / 2.5, rtol=0.05)
    np.testing.assert_array_equal(fitted.intercept, 0)


def test_the_temperature_of_classes():
    honest = RNG.normal(0, 1.5, (NUM, 3))
    chance = scipy.special.softmax(honest, axis=1)
    chosen = (RNG.random((NUM, 1)) > chance.cumsum(axis=1)).sum(axis=1)
    target = np.eye(3)[np.minimum(chosen, 2)]
    fitted = calibration_lib.fit("temperature", "multiclass", 2 * honest, target)
    np.testing.assert_allclose(fitted.slope, 0.5, rtol=0.05)
    found = calibration_lib.probabilities("multiclass", 2 * honest, fitted)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.abs(found - chance).mean() < 0.01
    with pytest.raises(ValueError, match="multiclass"):
        calibration_lib.fit("platt", "multiclass", honest, target)


def test_separated_classes_keep_probabilities_within_0_and_1():
    logits, target = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([[0.0], [0], [1], [1]])
    for method in ("platt", "isotonic", "temperature"):
        fitted = calibration_lib.fit(method, "binary", logits, target)
        found = calibration_lib.probabilities("binary", np.array([[-9.0], [9.0]]), fitted)
        assert np.isfinite(found).all()
        if method != "temperature":
            assert (0.0 < found[0, 0] < 0.5) & (0.5 < found[1, 0] < 1.0)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_outputs_that_are_worse_than_chance_are_not_reversed(method):
    logits, target = overconfident()
    fitted = calibration_lib.fit(method, "multilabel", -logits, target)
    grid = np.linspace(-20, 20, 101)[:, None] * np.ones(2)
    assert (np.diff(calibration_lib.probabilities("multilabel", grid, fitted), axis=0) >= 0).all()


def test_isotonic_calibration_is_the_isotonic_regression():
    logit = np.array([[0.0], [1.0], [2.0], [3.0], [3.0], [4.0]])
    target = np.array([[0.0], [1.0], [0.0], [1.0], [0.0], [1.0]])
    fitted = calibration_lib.fit("isotonic", "binary", logit, target)
    found = calibration_lib.probabilities("binary", logit, fitted)[:, 0]
    # The recordings from 1 to 3 have 2 positives of 4; equal logits have equal probabilities.
    np.testing.assert_allclose(found, [1 / 8, 0.5, 0.5, 0.5, 0.5, 7 / 8])
    between = calibration_lib.probabilities("binary", np.array([[0.5], [-9.0]]), fitted)[:, 0]
    np.testing.assert_allclose(between, [(1 / 8 + 0.5) / 2, 1 / 8])


def test_outputs_with_different_numbers_of_knots_are_stored_together():
    logits = np.stack([np.arange(8.0), np.zeros(8)], axis=1)
    target = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [1, 1], [1, 1.0]])
    fitted = calibration_lib.fit("isotonic", "multilabel", logits, target)
    assert fitted.knot_logits.shape == fitted.knot_probabilities.shape
    assert (np.diff(fitted.knot_logits) >= 0).all()
    found = calibration_lib.probabilities("multilabel", logits, fitted)
    np.testing.assert_allclose(found[:, 1], 6 / 8)


def test_the_method_depends_on_the_number_of_patients_of_either_class():
    def choose(num_positive, num_negative, recordings=1, kind="binary"):
        target = np.repeat([1.0] * num_positive + [0.0] * num_negative, recordings)[:, None]
        patient = np.repeat(np.arange(num_positive + num_negative), recordings)
        return calibration_lib.choose(kind, target, patient)

    assert choose(200, 300) == "isotonic"
    assert choose(199, 5000) == "platt"
    assert choose(10, 50) == "platt"
    assert choose(9, 50, recordings=100) == "temperature"
    assert choose(200, 300, kind="multiclass") == "temperature"


def test_cross_fitting_leaves_a_fold_out():
    logits, target = np.arange(8.0)[:, None], np.array([[0.0, 0, 1, 0, 1, 0, 1, 1]]).T
    fold = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    found = calibration_lib.cross_fitted("platt", "binary", logits, target, fold)
    others = calibration_lib.fit("platt", "binary", logits[fold == 1], target[fold == 1])
    want = calibration_lib.probabilities("binary", logits[fold == 0], others)
    np.testing.assert_array_equal(found[fold == 0], want)


def test_without_a_calibration_probabilities_are_those_of_the_head():
    logits = np.array([[0.0, np.log(3)]])
    found = calibration_lib.probabilities("multilabel", logits)
    np.testing.assert_allclose(found, [[0.5, 0.75]])
    unit = Calibration("temperature", np.ones(2), np.zeros(2))
    np.testing.assert_array_equal(found, calibration_lib.probabilities("binary", logits, unit))
