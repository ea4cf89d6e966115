"""Each kind of task has its scores, with intervals, and absent classes are named."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from culprits import assert_names

from clef_jax.evaluation import score
from clef_jax.evaluation.prediction import Predictions
from clef_jax.statistics import bootstrap
from clef_jax.tasks import Task


def make(kind, num=200, num_outputs=3):
    rng = np.random.default_rng(0)
    if kind == "multiclass":
        target = np.eye(num_outputs)[rng.integers(0, num_outputs, num)]
    elif kind == "regression":
        target = rng.normal(120, 20, (num, 1))
    else:
        target = (rng.random((num, 1 if kind == "binary" else num_outputs)) < 0.4).astype(float)
    noise = rng.normal(0, 10 if kind == "regression" else 1, target.shape)
    predicted = target + noise
    if kind != "regression":
        predicted = 1 / (1 + np.exp(-predicted))
    names = ("a", "b", "c")[: target.shape[1]]
    age = rng.uniform(40, 90, num // 2).repeat(2)
    male = rng.integers(0, 2, num // 2).repeat(2).astype(float)
    return Predictions(
        outputs=names,
        target=target,
        predicted=predicted,
        decided=(predicted > 0.5).astype(float),
        patient=np.arange(num) // 2,
        age_years=age,
        male=male,
        strength=np.ones(target.shape[1]),
        layer="last",
        num_train=100,
        cross_validated=False,
        num_excluded=0,
    )


def task(kind):
    outputs = ("a", "b", "c") if kind in ("multiclass", "multilabel") else ("a",)
    unit = "mmHg" if kind == "regression" else ""
    return Task(dataset="d", kind=kind, outputs=outputs, target=lambda e: e, unit=unit)


def scores(kind, predictions=None):
    predictions = predictions or make(kind)
    return {
        one.name: one for one in score.compute(task(kind), predictions, num_resamples=200, seed=0)
    }


def test_a_regression():
    predictions, found = make("regression"), scores("regression")
    assert {name for name, one in found.items() if one.in_table} == {"mae", "rmse", "r2"}
    difference = predictions.predicted - predictions.target
    assert found["bias"].value == pytest.approx(difference.mean())
    limit = difference.mean() + 1.96 * difference.std(ddof=1)
    assert found["upper limit of agreement"].value == pytest.approx(limit)
    interval = found["upper limit of agreement"].interval
    assert interval.low < limit < interval.high
    want = sklearn.metrics.mean_absolute_error(predictions.target, predictions.predicted)
    assert found["mae"].value == pytest.approx(want)
    assert found["mae"].interval.low < want < found["mae"].interval.high
    assert str(found["mae"]).endswith("] mmHg")
    assert found["r2"].unit == ""


def test_one_class():
    predictions, found = make("binary"), scores("binary")
    assert {name for name, one in found.items() if one.in_table} == {"auroc", "auprc", "f1"}
    truth, decided = predictions.target[:, 0], predictions.decided[:, 0]
    assert found["f1"].value == pytest.approx(sklearn.metrics.f1_score(truth, decided))
    balanced = sklearn.metrics.balanced_accuracy_score(truth, decided)
    assert found["balanced accuracy"].value == pytest.approx(balanced)
    brier = sklearn.metrics.brier_score_loss(truth, predictions.predicted[:, 0])
    assert found["brier"].value == pytest.approx(brier)
    assert 0 < found["expected calibration error"].value < 0.5
    want = sklearn.metrics.roc_auc_score(predictions.target[:, 0], predictions.predicted[:, 0])
    assert found["auroc"].value == pytest.approx(want)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes(kind):
    predictions, found = make(kind), scores(kind)
    want = sklearn.metrics.roc_auc_score(predictions.target, predictions.predicted, average="macro")
    assert found["macro auroc"].value == pytest.approx(want)
    assert ("balanced accuracy" in found) == (kind == "multiclass")
    each = [found[f"auroc {name}"].value for name in predictions.outputs]
    assert found["macro auroc"].value == pytest.approx(np.mean(each))
    shown = {name for name, one in found.items() if one.in_table}
    assert shown == {"macro auroc", "macro auprc", "macro f1", "balanced accuracy"} & set(found)


def test_many_absent_classes_are_counted():
    interval = bootstrap.Interval(0.5, 0.7, 10)
    many = score.Scored("macro auroc", 0.6, interval, absent=tuple(f"c{n}" for n in range(15)))
    assert_names(str(many), "15 absent classes")
    assert "c3" not in str(many)


def test_an_absent_class_is_named_and_excluded():
    predictions = make("multilabel")
    target = predictions.target.copy()
    target[:, 1] = 0
    found = scores("multilabel", dataclasses.replace(predictions, target=target))
    assert found["macro auroc"].absent == ("b",)
    assert_names(str(found["macro auroc"]), "b")
    assert "auroc b" not in found
    kept = [found["auroc a"].value, found["auroc c"].value]
    assert found["macro auroc"].value == pytest.approx(np.mean(kept))


def test_a_test_set_of_one_class_is_not_defined():
    predictions = make("binary")
    alike = dataclasses.replace(predictions, target=np.ones_like(predictions.target))
    found = scores("binary", alike)["auroc"]
    assert str(found) == "not defined"
    line = found.to_json()
    assert line["value"] is None
    assert line["low"] is None
    assert line["num_resamples"] == 0


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass", "regression"])
def test_groups_have_the_score_of_their_recordings(kind):
    predictions, found = make(kind), scores(kind)
    main = score.primary(task(kind))
    for group, chosen in {
        "women": predictions.male == 0,
        "below 65 years": predictions.age_years < 65,
    }.items():
        want = float(main.score(predictions.target[chosen], predictions.predicted[chosen]))
        assert found[f"{main.name}, {group}"].value == pytest.approx(want)
    gap = found[f"{main.name}, women minus men"]
    each = [found[f"{main.name}, {group}"].value for group in ("women", "men")]
    assert gap.value == pytest.approx(each[0] - each[1])
    assert gap.interval.low < gap.value < gap.interval.high


def test_a_small_group_is_not_scored():
    predictions = make("binary")
    few = dataclasses.replace(predictions, male=np.where(np.arange(200) < 10, 0.0, 1.0))
    assert not any("women" in name for name in scores("binary", few))
    assert any("65" in name for name in scores("binary", few))


def test_a_difference_compares_the_classes_that_both_groups_have():
    predictions = make("multilabel")
    target = predictions.target.copy()
    target[predictions.male == 0, 1] = 0
    found = scores("multilabel", dataclasses.replace(predictions, target=target))
    men = predictions.male == 1
    want = np.mean(
        [
            sklearn.metrics.roc_auc_score(target[men, k], predictions.predicted[men, k])
            for k in (0, 2)
        ]
    )
    assert found["macro auroc, men"].value == pytest.approx(want)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_score_of_a_test_set_of_one_class_is_a_number(value):
    predictions = make("binary")
    alike = dataclasses.replace(predictions, target=np.full_like(predictions.target, value))
    found = scores("binary", alike)
    assert {"auroc", "auprc", "f1", "balanced accuracy", "brier"} <= set(found)
    assert {str(one) for one in found.values()} == {"not defined"}
    assert {one.to_json()["value"] for one in found.values()} == {None}


def test_a_multiclass_test_set_of_one_class_is_not_defined():
    predictions = make("multiclass")
    alike = dataclasses.replace(predictions, target=np.eye(3)[np.zeros(200, int)])
    assert {str(one) for one in scores("multiclass", alike).values()} == {"not defined"}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_constant_predictions_are_called_constant(kind):
    predictions = make(kind)
    predicted = np.full_like(predictions.predicted, 0.25) + 1e-9 * predictions.predicted
    decided = np.zeros_like(predictions.decided)
    alike = dataclasses.replace(predictions, predicted=predicted, decided=decided)
    found = scores(kind, alike)
    shown = [one for one in found.values() if one.in_table]
    assert shown
    for one in shown:
        assert one.constant
        assert_names(str(one), "constant predictions")
        assert one.to_json()["constant_predictions"] is True
        assert ("[" in str(one)) == (kind == "regression" and one.name != "r2 ")
    assert not any(one.constant for one in scores(kind).values())


def test_predictions_that_are_constant_within_each_fold_are_constant():
    predictions = make("binary")
    fold = np.arange(200) % 5
    by_fold = dataclasses.replace(predictions, predicted=0.3 + 0.01 * fold[:, None], fold=fold)
    assert by_fold.constant.tolist() == [True]
    assert not dataclasses.replace(by_fold, fold=None).constant.any()
    assert not dataclasses.replace(predictions, fold=fold).constant.any()
    one_recording = dataclasses.replace(by_fold, predicted=np.array([[0.3]]), fold=None)
    assert not one_recording.constant.any()


def test_a_class_that_is_predicted_alike_is_constant_by_itself():
    predictions = make("multilabel")
    predicted = predictions.predicted.copy()
    predicted[:, 1] = 0.5
    found = scores("multilabel", dataclasses.replace(predictions, predicted=predicted))
    assert found["auroc b"].constant
    assert found["auroc b"].value == 0.5
    assert not found["auroc a"].constant
    assert not found["macro auroc"].constant


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression"])
def test_a_prediction_that_is_nan_leaves_no_score(kind):
    predictions = make(kind)
    predicted = predictions.predicted.copy()
    predicted[3] = np.nan
    decided = np.nan_to_num(predictions.decided)
    found = scores(kind, dataclasses.replace(predictions, predicted=predicted, decided=decided))
    assert {str(one) for one in found.values() if one.in_table} == {"not defined"}


def test_a_score_without_an_interval_shows_none():
    predictions = dataclasses.replace(make("binary"), patient=np.zeros(200, int))
    assert "[" not in str(scores("binary", predictions)["auroc"])
