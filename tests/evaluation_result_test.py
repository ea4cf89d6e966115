"""Results are compared on like recordings, corrected for being many, and written for machines."""

import json

import duckdb
import numpy as np
import pytest
import sklearn.metrics

from clef_jax.evaluation import plot, published, result as result_lib, score
from clef_jax.evaluation.prediction import Predictions
from clef_jax.evaluation.result import Result
from clef_jax.tasks import Task


def make(model, noise, *, kind="binary", num=300, share=1.0, seed=0):
    rng = np.random.default_rng(3)
    if kind == "regression":
        target = rng.normal(120, 20, (num, 1))
    else:
        target = (rng.random((num, 1)) < 0.4).astype(float)
    own = np.random.default_rng([seed, round(100 * noise)])
    predicted = target + noise * own.normal(size=target.shape) * (20 if kind == "regression" else 1)
    if kind != "regression":
        predicted = 1 / (1 + np.exp(-2 * predicted))
    predictions = Predictions(
        outputs=("a",),
        target=target,
        predicted=predicted,
        decided=(predicted > 0.6).astype(float),
        patient=np.arange(num) // 2,
        age_years=rng.uniform(30, 90, num),
        male=rng.integers(0, 2, num).astype(float),
        strength=np.ones(1),
        layer="last",
        num_train=num,
        cross_validated=False,
        num_left_out=0,
    )
    unit = "mmHg" if kind == "regression" else ""
    task = Task(dataset="d", kind=kind, outputs=("a",), target=lambda e: e, unit=unit, name=kind)
    scores = tuple(score.compute(task, predictions, num_resamples=100, seed=0))
    return Result(task, model, "linear", share, seed, predictions, scores, 0.0)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_better_model_is_found_and_an_equal_one_is_not(kind):
    results = [
        make("good", 0.5, kind=kind),
        make("bad", 5, kind=kind),
        make("good too", 0.5001, kind=kind, seed=1),
    ]
    bad, good = result_lib.compare(results, num_resamples=400, seed=0)
    assert bad.second == "bad"
    assert bad.is_significant
    better = -1 if kind == "regression" else 1
    assert better * bad.difference.value > 0
    assert bad.difference.interval.low * bad.difference.interval.high > 0
    assert not good.is_significant
    assert bad.p_holm == pytest.approx(2 * bad.difference.p_value)


def test_only_whole_and_like_answers_are_compared():
    results = [make("first", 1), make("fewer labels", 1, share=0.1), make("others", 1, num=200)]
    assert result_lib.compare(results, num_resamples=100, seed=0) == []


def test_files_say_the_same(tmp_path):
    results = [make("first", 1), make("second", 2)]
    compared = result_lib.compare(results, num_resamples=100, seed=0)
    result_lib.write(results, tmp_path, {"command": "c"}, compared)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["comparisons"][0]["second"] == "second"
    table = duckdb.read_parquet(str(tmp_path / "results.parquet"))
    rows = table.fetchall()
    assert len(rows) == len(found["results"])
    values = [row[table.columns.index("value")] for row in rows]
    np.testing.assert_allclose(values, [line["value"] for line in found["results"]])
    result_lib.write(results[:1], tmp_path, {"command": "c"})  # an older file gives way


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_curves_are_drawn(kind):
    drawn = plot.curves([make("first", 1, kind=kind), make("second", 2, kind=kind)])
    assert drawn is not None
    drawn.canvas.draw()


def test_a_curve_is_that_of_scikit_learn():
    predictions = make("first", 1).predictions
    truth, said = predictions.target[:, 0], predictions.predicted[:, 0]
    false, true, _ = plot._operating(truth, said)
    want_false, want_true, _ = sklearn.metrics.roc_curve(truth, said, drop_intermediate=False)
    np.testing.assert_allclose(false, want_false)
    np.testing.assert_allclose(true, want_true)


def test_published_numbers_have_a_source_and_say_how_they_differ():
    found = published.for_task("ptb_xl_superdiagnostic")
    assert found
    assert all(one.source and 0.5 < one.value < 1 for one in found)
    frozen = next(one for one in found if one.protocol == "frozen encoder")
    assert frozen.differs("I", "linear") == "12 leads, not lead I"
    assert frozen.differs("12", "linear") == ""
    assert "frozen encoder" in frozen.differs("I", "finetune")
    assert published.for_task("no_such_task") == []


def test_many_comparisons_can_still_be_significant():
    """With a fixed number of lots the smallest p-value times the comparisons would exceed 0.05."""
    results = [make("good", 0.5), *(make(f"bad {n}", 5, seed=n) for n in range(12))]
    found = result_lib.compare(results, num_resamples=100, seed=0)
    assert len(found) == 12
    assert all(one.is_significant for one in found)
