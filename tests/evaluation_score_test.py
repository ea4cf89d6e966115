"""Each kind of task has its scores, with intervals, and absent classes are named."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics

from clef_jax.evaluation import score
from clef_jax.evaluation.question import Answers
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
    nothing = np.full(num, np.nan)
    return Answers(
        outputs=names,
        target=target,
        predicted=predicted,
        patient=np.arange(num) // 2,
        age_years=nothing,
        male=nothing,
        strength=np.ones(target.shape[1]),
        cross_validated=False,
        num_left_out=0,
    )


def task(kind):
    outputs = ("a", "b", "c") if kind in ("multiclass", "multilabel") else ("a",)
    unit = "mmHg" if kind == "regression" else ""
    return Task(dataset="d", kind=kind, outputs=outputs, target=lambda e: e, unit=unit)


def scores(kind, answers=None):
    answers = answers or make(kind)
    return {one.name: one for one in score.of(task(kind), answers, num_resamples=200, seed=0)}


def test_a_regression():
    answers, found = make("regression"), scores("regression")
    assert set(found) == {"mae", "rmse", "r2"}
    want = sklearn.metrics.mean_absolute_error(answers.target, answers.predicted)
    assert found["mae"].value == pytest.approx(want)
    assert found["mae"].interval.low < want < found["mae"].interval.high
    assert str(found["mae"]).endswith("] mmHg")
    assert found["r2"].unit == ""


def test_one_class():
    answers, found = make("binary"), scores("binary")
    assert set(found) == {"auroc", "auprc", "brier"}
    want = sklearn.metrics.roc_auc_score(answers.target[:, 0], answers.predicted[:, 0])
    assert found["auroc"].value == pytest.approx(want)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes(kind):
    answers, found = make(kind), scores(kind)
    want = sklearn.metrics.roc_auc_score(answers.target, answers.predicted, average="macro")
    assert found["macro auroc"].value == pytest.approx(want)
    assert ("balanced accuracy" in found) == (kind == "multiclass")
    each = [found[f"auroc {name}"].value for name in answers.outputs]
    assert found["macro auroc"].value == pytest.approx(np.mean(each))
    shown = {name for name, one in found.items() if one.in_table}
    assert shown == {"macro auroc", "macro auprc", "balanced accuracy"} & set(found)


def test_an_absent_class_is_named_and_counts_for_nothing():
    answers = make("multilabel")
    target = answers.target.copy()
    target[:, 1] = 0
    found = scores("multilabel", dataclasses.replace(answers, target=target))
    assert found["macro auroc"].absent == ("b",)
    assert "without b" in str(found["macro auroc"])
    assert "auroc b" not in found
    kept = [found["auroc a"].value, found["auroc c"].value]
    assert found["macro auroc"].value == pytest.approx(np.mean(kept))


def test_a_test_set_of_one_class_is_not_defined():
    answers = make("binary")
    alike = dataclasses.replace(answers, target=np.ones_like(answers.target))
    found = scores("binary", alike)["auroc"]
    assert str(found) == "not defined"
    line = found.to_json()
    assert line["value"] is None
    assert line["low"] is None
    assert line["num_resamples"] == 0
