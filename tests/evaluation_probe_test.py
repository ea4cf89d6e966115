"""Probes agree with scikit-learn, and select penalties on validation data only."""

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.metrics
import sklearn.neighbors
from culprits import refuses

from clef_jax.evaluation import knn, linear, probe
from clef_jax.evaluation.examples import Examples, folds, sample_patients


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
    (found,) = linear.fit_all("multilabel", train, [strength])
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
    (found,) = linear.fit_all("multiclass", train, [0.01])
    x = (train.features - found.centre) / found.scale
    want = sklearn.linear_model.LogisticRegression(
        C=1 / (0.01 * len(train)), max_iter=5000, tol=1e-10
    ).fit(x, train.target.argmax(axis=1))
    predicted = found(train.features)
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    np.testing.assert_allclose(predicted, want.predict_proba(x), atol=2e-3)


def test_numbers_are_fitted_as_scikit_learn_does():
    train = make(kind="regression")
    (found,) = linear.fit_all("regression", train, [0.1])
    x = (train.features - found.centre) / found.scale
    want = sklearn.linear_model.Ridge(alpha=0.1 * len(train)).fit(x, train.target)
    np.testing.assert_allclose(found(train.features), want.predict(x), atol=1e-4)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_the_penalty_is_the_best_on_validation(kind):
    train, validation = make(num=60, kind=kind), make(seed=1, kind=kind)
    found = probe.fit(kind, train, validation)
    each = np.stack([head(validation.features) for head in found.heads])
    losses = probe.losses(kind, validation.target, each)
    np.testing.assert_array_equal(found.strength, np.array(linear.STRENGTHS)[losses.argmin(axis=0)])
    mine = probe.losses(kind, validation.target, found(validation.features)[None])
    np.testing.assert_allclose(mine[0], losses.min(axis=0))
    assert found.validation_loss == pytest.approx(losses.min(axis=0).sum())


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_losses_are_scikit_learns(kind):
    examples = make(kind=kind)
    predicted = linear.fit_all(kind, examples, [0.1])[0](examples.features)
    found = probe.losses(kind, examples.target, predicted[None])[0]
    if kind == "multiclass":
        want = sklearn.metrics.log_loss(examples.target, predicted)
        assert found.sum() == pytest.approx(want)
    else:
        want = [
            sklearn.metrics.log_loss(*pair)
            for pair in zip(examples.target.T, predicted.T, strict=True)
        ]
        np.testing.assert_allclose(found, want)


def test_the_threshold_has_the_best_f1_on_validation():
    train, validation = make(), make(seed=1)
    found = probe.fit("multilabel", train, validation)
    predicted = found(validation.features)
    for label, threshold in enumerate(found.threshold):
        truth, score = validation.target[:, label], predicted[:, label]
        best = max(sklearn.metrics.f1_score(truth, score >= t) for t in score)
        assert sklearn.metrics.f1_score(truth, score >= threshold) == pytest.approx(best)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_neighbours_are_those_of_scikit_learn(kind):
    train, test = make(kind=kind), make(seed=1, kind=kind)
    (head,) = knn.fit_all(kind, train, [20])
    centred = train.features - train.features.mean(axis=0, dtype=np.float64)
    index = sklearn.neighbors.NearestNeighbors(n_neighbors=20, metric="cosine").fit(centred)
    asked = test.features - train.features.mean(axis=0, dtype=np.float64)
    want = train.target[index.kneighbors(asked, return_distance=False)].mean(axis=1)
    np.testing.assert_allclose(head(test.features), want, atol=0.06)  # ties at the edge
    assert np.abs(head(test.features) - want).mean() < 1e-3


def test_neighbours_are_no_more_than_there_are():
    train = make(num=30)
    found = probe.fit("multilabel", train, method="knn")
    assert (found.strength <= 200).all()
    assert np.isfinite(found(train.features)).all()


def test_a_fraction_of_the_patients_is_part_of_a_larger_one():
    patient = np.repeat(np.arange(100), 3)
    chosen = {share: sample_patients(patient, share, seed=0) for share in (0.001, 0.1, 0.5, 1.0)}
    assert [len(np.unique(patient[c])) for c in chosen.values()] == [2, 10, 50, 100]
    assert (chosen[0.1] <= chosen[0.5]).all()
    assert all(c.reshape(100, 3).all(axis=1).sum() * 3 == c.sum() for c in chosen.values())
    assert not np.array_equal(sample_patients(patient, 0.1, seed=1), chosen[0.1])


def test_without_validation_patients_are_kept_together():
    train = make(num=200)
    fold = folds(train.patient, 5, seed=0)
    for patient in np.unique(train.patient):
        assert len(set(fold[train.patient == patient])) == 1
    assert np.bincount(fold).tolist() == [40] * 5
    found = probe.fit("multilabel", train)
    assert set(found.strength) <= set(linear.STRENGTHS)
    again = probe.fit("multilabel", train)
    np.testing.assert_array_equal(found(train.features), again(train.features))


def test_a_validation_set_of_one_class_is_not_used():
    train, validation = make(num=200), make(num=5, seed=1)
    validation = Examples(validation.features, np.zeros_like(validation.target), validation.patient)
    with_it = probe.fit("multilabel", train, validation)
    without = probe.fit("multilabel", train)
    np.testing.assert_array_equal(with_it.strength, without.strength)
    np.testing.assert_array_equal(with_it.threshold, without.threshold)


def test_constant_features_do_no_harm():
    train = make()
    features = np.concatenate([train.features, np.full((len(train), 1), 1e6, np.float32)], axis=1)
    wider = Examples(features, train.target, train.patient)
    (found,) = linear.fit_all("multilabel", wider, [0.1])
    assert np.isfinite(found.weight).all()
    np.testing.assert_allclose(found.weight[-1], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        (Examples(np.zeros((0, 2)), np.zeros((0, 1)), np.zeros(0, int)), "no_targets"),
        (Examples(np.ones((3, 2)), np.ones((3, 1)), np.arange(3)), "one_class"),
    ],
)
def test_training_data_without_different_targets_is_rejected(examples, problem):
    with refuses(problem=problem):
        probe.fit("binary", examples)
