"""Probes find what scikit-learn finds, and choose penalties on the data they may see."""

import numpy as np
import pytest
import sklearn.linear_model

from clef_jax.errors import UserError
from clef_jax.evaluation import probe
from clef_jax.evaluation.probe import Examples


def make(num=900, num_features=12, num_outputs=3, seed=0, kind="multilabel"):
    """Examples whose targets follow from features with noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(2, 3, (num, num_features)).astype(np.float32)
    weight = np.random.default_rng(99).normal(size=(num_features, num_outputs))
    linear = (features - 2) @ weight / 6
    if kind == "regression":
        target = linear + rng.normal(0, 0.3, linear.shape)
    elif kind == "multiclass":
        target = np.eye(num_outputs)[(linear + rng.gumbel(size=linear.shape)).argmax(axis=1)]
    else:
        target = (rng.random(linear.shape) < 1 / (1 + np.exp(-linear))).astype(float)
    return Examples(features, target, np.arange(num) // 2)


@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_labels_are_fitted_as_scikit_learn_does(strength):
    train = make()
    found = probe.fit("multilabel", train, make(seed=1), strengths=[strength])
    x = (train.features - found.centre) / found.scale
    for label in range(3):
        want = sklearn.linear_model.LogisticRegression(
            C=1 / (strength * len(train)), max_iter=5000, tol=1e-10
        ).fit(x, train.target[:, label])
        np.testing.assert_allclose(found.weight[:, label], want.coef_[0], atol=1e-3)
        np.testing.assert_allclose(
            found(train.features)[:, label], want.predict_proba(x)[:, 1], atol=2e-3
        )


def test_classes_are_fitted_as_scikit_learn_does():
    train = make(kind="multiclass")
    found = probe.fit("multiclass", train, make(seed=1, kind="multiclass"), strengths=[0.01])
    x = (train.features - found.centre) / found.scale
    want = sklearn.linear_model.LogisticRegression(
        C=1 / (0.01 * len(train)), max_iter=5000, tol=1e-10
    ).fit(x, train.target.argmax(axis=1))
    predicted = found(train.features)
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    np.testing.assert_allclose(predicted, want.predict_proba(x), atol=2e-3)


def test_numbers_are_fitted_as_scikit_learn_does():
    train = make(kind="regression")
    found = probe.fit("regression", train, make(seed=1, kind="regression"), strengths=[0.1])
    x = (train.features - found.centre) / found.scale
    want = sklearn.linear_model.Ridge(alpha=0.1 * len(train)).fit(x, train.target)
    np.testing.assert_allclose(found(train.features), want.predict(x), atol=1e-4)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_the_penalty_is_the_best_on_validation(kind):
    train, validation = make(num=60, kind=kind), make(seed=1, kind=kind)
    found = probe.fit(kind, train, validation)
    losses = np.array(
        [
            probe._loss(kind, probe.fit(kind, train, validation, strengths=[s]), validation)
            for s in probe.STRENGTHS
        ]
    )
    if kind == "multiclass":
        losses = np.repeat(losses.sum(axis=1, keepdims=True), 3, axis=1)
    best = np.array(probe.STRENGTHS)[losses.argmin(axis=0)]
    np.testing.assert_array_equal(found.strength, best)
    np.testing.assert_allclose(
        probe._loss(kind, found, validation).sum(),
        losses.min(axis=0).sum() / (3 if kind == "multiclass" else 1),
        rtol=1e-2,
    )


def test_without_validation_patients_are_kept_together():
    train = make(num=200)
    fold = probe.folds(train.patient, 5, seed=0)
    for patient in np.unique(train.patient):
        assert len(set(fold[train.patient == patient])) == 1
    assert np.bincount(fold).tolist() == [40] * 5
    found = probe.fit("multilabel", train)
    assert set(found.strength) <= set(probe.STRENGTHS)
    again = probe.fit("multilabel", train)
    np.testing.assert_array_equal(found.weight, again.weight)


def test_a_validation_set_of_one_class_does_not_choose():
    train, validation = make(num=200), make(num=5, seed=1)
    validation = Examples(validation.features, np.zeros_like(validation.target), validation.patient)
    with_it = probe.fit("multilabel", train, validation)
    np.testing.assert_array_equal(with_it.weight, probe.fit("multilabel", train).weight)


def test_constant_features_do_no_harm():
    train = make()
    features = np.concatenate([train.features, np.full((len(train), 1), 1e6, np.float32)], axis=1)
    wider = Examples(features, train.target, train.patient)
    found = probe.fit("multilabel", wider, strengths=[0.1])
    assert np.isfinite(found.weight).all()
    np.testing.assert_allclose(found.weight[-1], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (Examples(np.zeros((0, 2)), np.zeros((0, 1)), np.zeros(0, int)), "No training recording"),
        (Examples(np.ones((3, 2)), np.ones((3, 1)), np.arange(3)), "All 3 .* of one class"),
    ],
)
def test_nothing_to_learn_is_told(examples, words):
    with pytest.raises(UserError, match=words):
        probe.fit("binary", examples)
