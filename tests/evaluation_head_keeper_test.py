"""A kept head is a model folder that answers as the evaluation did."""

import dataclasses

import evaluation_finetune_test
import numpy as np
import pytest
import scipy.special
from culprits import refuses
from evaluation_finetune_test import make

from clef_jax import tasks
from clef_jax.answers import answer as answer_lib, calibration as calibration_lib
from clef_jax.embedding import pretrained
from clef_jax.errors import WrongArgument
from clef_jax.evaluation import bench, head_keeper, prediction
from clef_jax.evaluation.settings import Config

splits = evaluation_finetune_test.splits
"""The fixture: a prepared data set, embedded."""


def keep(splits, folder, task, layer="last", **protocol):
    model = make(1)
    layers = bench.layers_of(model, layer)
    asked = prediction.Protocol(**protocol)
    predictions = prediction.predict(task, splits, layers, asked)
    division = prediction.divide(task, splits, layers, asked)
    path = head_keeper.keep(model, task, division, asked, predictions, folder)
    assert path.parent == folder
    loaded = pretrained.load(path, model.mesh)
    assert loaded.fingerprint == model.fingerprint
    return loaded.head, division, predictions


def test_decisions_about_the_test_split_are_those_of_the_evaluation(splits, tmp_path):
    head, division, predictions = keep(splits, tmp_path, tasks.find("cinc2017_af"), "best")
    assert head.layer == predictions.layer
    answers = answer_lib.answer(head, division.test.features[head.layer])
    np.testing.assert_array_equal(answers.decisions, predictions.decided)
    order = np.argsort(predictions.predicted[:, 0])
    assert (np.diff(answers.probabilities[order, 0]) >= -1e-6).all()
    assert head.fitted["recordings"] == len(division.train)


def test_a_cross_validated_head_is_fitted_to_all_and_calibrated(splits, tmp_path):
    task = tasks.find("cinc2017_af")
    head, division, predictions = keep(splits, tmp_path, task, cross_validate=True)
    assert division.test is None
    assert (head.kind, head.names) == ("binary", ("af",))
    assert head.fitted["recordings"] == len(predictions.target)
    np.testing.assert_allclose(head.prevalence, predictions.target.mean(axis=0))
    target, before = predictions.target, predictions.predicted
    after = calibration_lib.probabilities("binary", scipy.special.logit(before), head.calibration)
    assert ((after - target) ** 2).mean() < ((before - target) ** 2).mean()


def test_numbers_get_intervals(splits, tmp_path):
    task = dataclasses.replace(
        tasks.find("cinc2017_af"),
        kind="regression",
        outputs=("number",),
        target=lambda example: np.array([int(example["record_id"][1:]) / 7], np.float32),
    )
    head, _, predictions = keep(splits, tmp_path, task, cross_validate=True)
    error = np.abs(predictions.predicted - predictions.target)
    assert (error <= head.half_width).mean() >= head_keeper.COVERAGE == head.coverage


@pytest.mark.parametrize(
    ("wanted", "culprit"),
    [
        ({"probes": "knn"}, "--probes"),
        ({"preset": "lead_I"}, "lead-I"),
        ({"label_shares": (0.1,)}, "--label-shares"),
    ],
)
def test_probes_without_a_head_to_keep_are_refused(wanted, culprit):
    with refuses(culprit, error=WrongArgument):
        Config(data_dir="data", out="out", keep_heads=True, **wanted)
