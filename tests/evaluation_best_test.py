"""The best model of a task, and those that are tied with it."""

import dataclasses

import numpy as np
import page_samples
import pytest

from clef_jax.evaluation import best, score


@pytest.fixture(scope="module")
def results():
    return page_samples.results(4, 4, num_recordings=160)


def of(results, kind):
    return [result for result in results if result.task.kind == kind]


@pytest.mark.parametrize("kind", ["regression", "binary", "multilabel"])
def test_the_best_is_best_and_its_copy_is_tied(results, kind):
    of_task = of(results, kind)
    sign = 1 if score.primary(of_task[0].task).higher_is_better else -1
    copy = dataclasses.replace(of_task[0], model="copy")
    found = best.standing([*of_task, copy], num_resamples=60, seed=0)
    values = {result.row: sign * result.primary().value for result in of_task}
    assert values[found.best] == max(values.values())
    if found.best == of_task[0].row:
        assert "copy" in found.tied
    assert not found.includes("absent")


def test_a_far_worse_model_is_not_tied(results):
    of_task = of(results, "binary")
    noise = np.random.default_rng(0).random(of_task[0].predictions.predicted.shape)
    worse = dataclasses.replace(of_task[0].predictions, predicted=noise)
    scores = tuple(score.compute(of_task[0].task, worse, num_resamples=60, seed=0))
    bad = dataclasses.replace(of_task[0], model="bad", predictions=worse, scores=scores)
    found = best.standing([*of_task, bad], num_resamples=100, seed=0)
    assert "bad" not in found.tied


def test_constant_and_undefined_models_are_never_best(results):
    of_task = of(results, "binary")[:1]
    constant = dataclasses.replace(of_task[0].primary(), constant=True)
    undefined = dataclasses.replace(of_task[0].primary(), value=np.nan)
    for scored in (constant, undefined):
        result = dataclasses.replace(of_task[0], scores=(scored,))
        assert best.standing([result], num_resamples=10, seed=0) == best.Standing()


def test_models_with_other_recordings_are_named(results):
    of_task = of(results, "binary")[:2]
    shorter = dataclasses.replace(
        of_task[1].predictions, patient=of_task[1].predictions.patient + 1000
    )
    other = dataclasses.replace(of_task[1], predictions=shorter)
    found = best.standing([of_task[0], other], num_resamples=20, seed=0)
    assert len(found.unpaired) == 1
    assert not found.tied


def test_counts_are_of_tasks(results):
    standings = best.by_task(results, num_resamples=60, seed=0)
    rows = list(dict.fromkeys(result.row for result in results))
    counts = best.counts(standings, rows)
    assert set(counts) == set(rows)
    assert 4 >= max(counts.values()) == next(iter(counts.values())) >= 1
