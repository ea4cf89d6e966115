"""Results are compared on the same recordings with Holm's correction, and written to files."""

import csv
import dataclasses
import json

import duckdb
import numpy as np
import pytest
import sklearn.metrics
from culprits import assert_names, refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above

from clef_jax.evaluation import plot, published, result as result_lib, score, task_section
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
        num_excluded=0,
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


def test_only_results_with_all_labels_and_the_same_recordings_are_compared():
    results = [make("first", 1), make("fewer labels", 1, share=0.1), make("others", 1, num=200)]
    assert result_lib.compare(results, num_resamples=100, seed=0) == []


def test_all_files_hold_the_same_results(tmp_path):
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
def test_curves_are_plotted(kind):
    results = [make("first", 1, kind=kind), make("second", 2, kind=kind)]
    if kind == "regression":
        charts = [drawn for result in results for drawn in plot.agreement(result)]
        assert len(charts) == 4
    else:
        charts = plot.curves(results, {"first": 0, "second": 1})
        assert len(charts) == 3
        assert_names(charts[0], "first 0.", "second 0.", "series-0", "series-1")
    assert all('role="img"' in drawn for drawn in charts)


def test_a_curve_is_that_of_scikit_learn():
    predictions = make("first", 1).predictions
    truth, said = predictions.target[:, 0], predictions.predicted[:, 0]
    false, true, _ = plot._operating_points(truth, said)
    want_false, want_true, _ = sklearn.metrics.roc_curve(truth, said, drop_intermediate=False)
    np.testing.assert_allclose(false, want_false)
    np.testing.assert_allclose(true, want_true)


def test_published_numbers_have_a_source_and_say_how_they_differ():
    found = published.for_task("ptb_xl_superdiagnostic")
    assert found
    assert all(one.source and 0.5 < one.value < 1 for one in found)
    by_protocol = {(one.model, one.protocol): one for one in found}
    values = [by_protocol["KED", p].value for p in ("linear", "attention", "fine-tuned")]
    assert values == [0.802, 0.865, 0.905]
    frozen = by_protocol["KED", "attention"]
    assert frozen.method == "attention"
    assert frozen.differs("I", "attention") == "12 leads, not lead I"
    assert frozen.differs("12", "attention") == ""
    assert "attention" in frozen.differs("I", "finetune")
    assert by_protocol["S4 trained from scratch", "from scratch"].value == 0.932
    assert published.for_task("no_such_task") == []


def test_a_row_whose_model_is_not_named_says_so():
    (row,) = published.for_task("mc_med_sbp")
    assert row.value == 17.88
    assert "not named" in row.source
    assert row.differs("II", "linear") == "lead not stated; protocol not stated"


def test_published_rows_stand_beside_the_right_probe():
    results = [make("ours", 1), dataclasses.replace(make("ours", 2), method="attention")]
    task = dataclasses.replace(results[0].task, name="ptb_xl_superdiagnostic")
    results = [dataclasses.replace(result, task=task) for result in results]
    table = task_section._published(results)
    for row in table.split("<tr>"):
        if "12 leads" in row:
            assert ("not evaluated" in row) == (">fine-tuned<" in row)
    assert "no such probe" in table


def test_many_comparisons_can_still_be_significant():
    """With a fixed number of permutations no p-value could remain below 0.05 after correction."""
    results = [make("good", 0.5), *(make(f"bad {n}", 5, seed=n) for n in range(12))]
    found = result_lib.compare(results, num_resamples=100, seed=0)
    assert len(found) == 12
    assert all(one.is_significant for one in found)


def test_tables_have_the_types_of_their_columns_also_without_results(tmp_path):
    result_lib.write([], tmp_path, {"command": "c"})
    assert json.loads((tmp_path / "results.json").read_text())["results"] == []
    empty = duckdb.read_parquet(str(tmp_path / "results.parquet"))
    result_lib.write([make("first", 1)], tmp_path, {"command": "c"})
    full = duckdb.read_parquet(str(tmp_path / "results.parquet"))
    assert (empty.columns, empty.types) == (full.columns, full.types)
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == ",".join(full.columns)


def test_no_spreadsheet_runs_the_name_of_a_model(tmp_path):
    name = "=HYPERLINK(A1)"
    result_lib.write([make(name, 1)], tmp_path, {"command": "c"})
    with (tmp_path / "results.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert {line["model"] for line in lines} == {f"'{name}"}
    assert min(float(line["low"] or 0) for line in lines) < 0  # numbers keep their sign
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    assert {line["model"] for line in found} == {name}


def test_results_are_replaced_and_other_files_are_not(tmp_path):
    result_lib.write([make("first", 1)], tmp_path, {"command": "c"})
    result_lib.check_outputs(tmp_path, overwrite=False)
    for name, content in {
        "results.json": b'{"results": "mine"}',
        "results.csv": b"patient,value\n1,2\n",
        "results.parquet": b"PAR1 is not what this is",
    }.items():
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with refuses(tmp_path / name, "--overwrite", problem="foreign_file"):
            result_lib.check_outputs(tmp_path, overwrite=False)
        result_lib.check_outputs(tmp_path, overwrite=True)
        (tmp_path / name).write_bytes(kept)


def test_notes_say_why_there_is_no_score():
    good = make("good", 1)
    constant = dataclasses.replace(
        good.predictions, predicted=np.full_like(good.predictions.predicted, 0.3)
    )
    unknown = np.full_like(good.predictions.predicted, np.nan)
    results = [
        good,
        dataclasses.replace(good, model="collapsed", predictions=constant),
        dataclasses.replace(
            good,
            model="diverged",
            predictions=dataclasses.replace(good.predictions, predicted=unknown),
        ),
    ]
    assert result_lib.notes([good]) == []
    first, second = result_lib.notes(results)
    assert_names(first, "constant", "collapsed")
    assert "diverged" not in first
    assert_names(second, "not a number", "diverged")
    roc, *_ = plot.curves(results, {"good": 0, "collapsed": 1, "diverged": 2})
    assert_names(roc, "good", "collapsed 0.5, constant predictions")
    assert "diverged" not in roc


@pytest.mark.faults
def test_a_full_disk_leaves_the_old_results(tmp_path, fault_log):
    result_lib.write([make("first", 1)], tmp_path, {"command": "c"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    at_first = user_bytes(tmp_path)
    with no_file_above(1000), refuses(tmp_path / "results.json", problem="not_written"):
        result_lib.write([make("second", 1)], tmp_path, {"command": "c"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))
