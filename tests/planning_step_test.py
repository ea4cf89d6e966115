import dataclasses

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, pipeline
from clef_jax.objectives import clef
from clef_jax.planning import mlir, step, topology
from clef_jax.training import step as step_lib

CONFIG = TrainConfig(data_dir="", workdir="", size="tiny", global_batch_size=16, window_seconds=1.0)


def lower(name, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    return step.lower(config, topology.by_name(name), 500.0)


@pytest.fixture(scope="module")
def on_gpus():
    return lower("h100:8")


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, np.dtype(x.dtype)), tree)


def test_abstract_batch_is_what_the_pipeline_gives(data_dir):
    config = dataclasses.replace(CONFIG, data_dir=str(data_dir), window_seconds=10.0)
    index = index_lib.load(index_lib.find(config.data_dir, config.dataset), "train")
    plan = pipeline.make_sampler(index, config)
    batch = next(pipeline.make_batches(plan, config, first_step=0))
    planned = step.lower(config, topology.by_name("cpu:4"), index.common_rate_hz)
    assert shapes(planned.batch) == shapes(batch)
    assert {x.sharding for x in planned.batch.values()} == {mesh_lib.rows(planned.trainer.mesh)}


def test_abstract_state_and_constants_are_those_of_training():
    planned = lower("cpu:4")
    assert shapes(planned.state) == shapes(jax.eval_shape(planned.trainer.init))
    constants = step_lib.make_constants(CONFIG, 500.0, planned.trainer.mesh)
    assert shapes(planned.constants) == shapes(constants)
    for leaf, abstract in zip(
        jax.tree.leaves(constants), jax.tree.leaves(planned.constants), strict=True
    ):
        assert leaf.sharding == abstract.sharding


def test_what_is_planned_is_what_training_compiles():
    planned = lower("cpu:4")
    mesh = mesh_lib.make_mesh(jax.devices()[:4])
    trainer = dataclasses.replace(planned.trainer, mesh=mesh)
    arguments = planned.state, planned.batch, planned.constants
    trained = step_lib.make_train_step(trainer).lower(*arguments)
    assert planned.lowered.as_text() == trained.as_text()


def test_platform_decides_precision_and_form_and_not_this_machine(on_gpus):
    assert on_gpus.trainer.platform == "gpu"
    on_cpus = lower("cpu:8")
    native = "feature_group_count = 2"
    assert native in on_gpus.lowered.as_text()
    assert native not in on_cpus.lowered.as_text()
    assert "bf16" in on_gpus.lowered.as_text()
    assert "bf16" not in on_cpus.lowered.as_text()
    assert "bf16" not in lower("h100:8", precision="float32").lowered.as_text()


def test_a_batch_that_does_not_split_is_refused():
    with refuses("--global-batch-size=17", "16 or 24"):
        lower("h100:8", global_batch_size=17)


def test_objectives_that_ask_for_a_cohort_can_be_planned():
    planned = lower("cpu:2", objective_config=clef.Config(risk_distance="rank"))
    assert planned.trainer.loss_config.cohort


def test_exchanges_of_a_lowered_step(on_gpus):
    found = mlir.collectives(on_gpus.lowered)
    gathers = [x for x in found if x.kind == "all-gather"]
    largest = max(gathers, key=lambda x: x.num_bytes)
    width = 16
    assert (largest.num_bytes, largest.group_size) == (2 * 16 * width * 4, 8)
    assert largest.largest_shape == "f32[2,16,16]"
    (scatter,) = [x for x in found if x.kind == "reduce-scatter"]
    assert scatter.num_bytes == 2 * (16 // 8) * width * 4
    gradients = sum(x.num_bytes for x in found if x.kind == "all-reduce")
    params = sum(x.size * 4 for x in jax.tree.leaves(on_gpus.state.params))
    assert params <= gradients <= params + 256


def test_other_failures_of_the_compiler_are_no_question_of_memory():
    class Broken:
        def compile(self, options):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    broken = dataclasses.replace(lower("cpu:2"), lowered=Broken())
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        step.compile_step(broken)

    class Full:
        def compile(self, options):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Used 2G of 1G hbm.")

    refused, _ = step.compile_step(dataclasses.replace(broken, lowered=Full()))
    assert isinstance(refused, step.TooLarge)
    assert refused.required_bytes == 2 * 2**30
