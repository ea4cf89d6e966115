"""The bench evaluates every model on a task, with each probe and each fraction of the labels."""

import dataclasses

import jax
import numpy as np
import pytest
import rich.console
from prepared import build

from clef_jax import mesh as mesh_lib, tasks
from clef_jax.building import catalog
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.evaluation import bench as bench_lib
from clef_jax.evaluation.bench import CLINICAL_BASELINE, Bench
from clef_jax.evaluation.settings import Config

pytestmark = pytest.mark.usefixtures("quick_compiler")


@pytest.fixture(scope="module")
def encoder():
    return encoder_lib.random("tiny", mesh_lib.make_mesh(jax.devices()[:1]), seed=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two prepared data sets."""
    folder = tmp_path_factory.mktemp("bench")
    for name in ("cinc2017", "mc_med"):
        tree = catalog.simulated(name).write(folder / name)
        build(name, tree.source, folder / "data")
    return folder / "data"


def make(encoder, data, out, **settings):
    config = Config(data_dir=str(data), out=str(out), num_resamples=100, **settings)
    return Bench(config, [encoder], rich.console.Console())


def scores_of(results, model):
    (result,) = [result for result in results if result.model == model]
    return {scored.name: scored.value for scored in result.scores}


def test_the_clinical_baseline_does_not_know_the_target(encoder, data, tmp_path):
    bench = make(encoder, data, tmp_path)
    results = bench.evaluate(tasks.find("mc_med_sbp"))
    assert not bench.problems
    assert [result.model for result in results] == [encoder.name, CLINICAL_BASELINE]
    assert scores_of(results, CLINICAL_BASELINE)["mae"] > 0.5


def test_other_layers_give_other_results(encoder, data, tmp_path):
    task = tasks.find("cinc2017_rhythm")
    values = {}
    for layer in ("last", "stage_1"):
        results = make(encoder, data, tmp_path, layer=layer).evaluate(task)
        values[layer] = list(scores_of(results, encoder.name).values())
    assert not np.array_equal(values["last"], values["stage_1"])


def test_the_best_layer_is_one_of_all(encoder):
    assert list(bench_lib.layers_of(encoder, "best")) == list(encoder.layers)
    assert list(bench_lib.layers_of(encoder, "last")) == ["last"]
    assert list(bench_lib.layers_of(encoder, "stage_1")) == ["stage_1"]


def test_each_fraction_below_1_is_sampled_several_times(encoder, data, tmp_path):
    bench = make(encoder, data, tmp_path, label_shares=(0.5, 1.0), label_draws=2, seed=3)
    results = bench.evaluate(tasks.find("mc_med_sbp"))
    of_encoder = [result for result in results if result.model == encoder.name]
    assert [(r.label_fraction, r.seed) for r in of_encoder] == [(1, 3), (0.5, 3), (0.5, 4)]


def test_a_task_that_fails_is_a_problem(encoder, data, tmp_path):
    task = dataclasses.replace(tasks.find("cinc2017_af"), lead="V1")
    bench = make(encoder, data, tmp_path)
    assert bench.evaluate(task) == []
    (problem,) = bench.problems
    assert "cinc2017_af" in problem
    assert "V1" in problem


def test_costs_are_those_of_every_model(encoder, data, tmp_path):
    bench = make(encoder, data, tmp_path)
    bench.evaluate(tasks.find("cinc2017_af"))
    costs = bench.costs()
    assert set(costs) == {encoder.name, CLINICAL_BASELINE}
    assert costs[encoder.name]["parameters"] == encoder.costs["parameters"]
    assert costs[encoder.name]["windows_per_second"] > 0
