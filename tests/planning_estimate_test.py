import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from clef_jax import mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.planning import estimate, roofline, topology
from clef_jax.planning.hlo import Collective
from clef_jax.training import step as step_lib

CONFIG = TrainConfig(data_dir="", workdir="", size="tiny", global_batch_size=64, window_seconds=1.0)


@pytest.fixture(scope="module")
def on_gpus():
    return estimate.make(CONFIG, topology.by_name("h100:8"))


@pytest.fixture(scope="module")
def on_cpus():
    return estimate.make(CONFIG, topology.by_name("cpu:8"))


def test_gpu_plan_is_as_fast_as_its_roofline(on_gpus):
    assert on_gpus.compile_seconds is None
    assert on_gpus.memory.fits
    assert on_gpus.rows == 8
    assert on_gpus.step_seconds == on_gpus.roofline.seconds > 0
    assert on_gpus.pairs_per_second == pytest.approx(64 / on_gpus.step_seconds)
    steps = 161_352 // 64 * 100
    assert on_gpus.hours == pytest.approx(steps * on_gpus.step_seconds / 3600)
    # The roofline is no estimate of its own share.
    assert on_gpus.roofline_share is None


def test_cpu_plan_is_compiled_and_not_timed(on_cpus):
    assert on_cpus.compile_seconds > 0
    assert on_cpus.compiled_flops > on_cpus.model_flops
    assert on_cpus.compiled_bytes > on_cpus.least_bytes
    assert on_cpus.precision == "float32"
    assert (on_cpus.step_seconds, on_cpus.pairs_per_second, on_cpus.hours) == (None, None, None)
    assert on_cpus.estimated_cycles is None
    assert on_cpus.topology.chip.name == "cpu"


@pytest.mark.parametrize("name", ["on_gpus", "on_cpus"])
def test_no_exchange_is_larger_than_embeddings_and_gradients(name, request):
    plan = request.getfixturevalue(name)
    assert plan.collectives
    assert plan.embeddings_bytes == 2 * 64 * 16 * 4
    assert plan.too_large_collectives == []


def test_a_gather_of_signals_is_found(monkeypatch):
    """Gathers the whole batch, as plain `jit` does around a grouped convolution."""
    real = step_lib.embed

    def embed(trainer, params, signals, *buckets):
        def local(signals):
            # Not a constant factor of 1, or the compiler would take the gather away.
            return signals * jnp.tanh(jax.lax.all_gather(signals, "data").sum())

        signals = jax.shard_map(
            local, mesh=trainer.mesh, in_specs=mesh_lib.ROWS, out_specs=mesh_lib.ROWS
        )(signals)
        return real(trainer, params, signals, *buckets)

    monkeypatch.setattr(step_lib, "embed", embed)
    plan = estimate.make(CONFIG, topology.by_name("h100:8"))
    (found,) = plan.too_large_collectives
    assert (found.kind, found.num_bytes) == ("all-gather", 64 * 2 * 500 * 4)


def test_compilers_estimate_and_exchanges_are_added(on_gpus):
    v5e = topology.by_name("v5e:2x4")
    exchanges = [Collective("all-gather", "", 1, 8 * 10**9, 8, "f32[1]")]
    plan = dataclasses.replace(
        on_gpus,
        topology=v5e,
        estimated_cycles=3_000_000,
        roofline=roofline.make(v5e, on_gpus.model_flops, on_gpus.least_bytes, exchanges),
    )
    assert plan.compiler_seconds == pytest.approx(3e6 / 1.5e9)
    assert plan.step_seconds == pytest.approx(3e6 / 1.5e9 + 7e9 / 200e9)
    assert plan.roofline_share == pytest.approx(plan.roofline.seconds / plan.step_seconds)
    utilization = on_gpus.model_flops / 197e12 / plan.step_seconds
    assert plan.model_flops_utilization == pytest.approx(utilization)


def test_a_step_that_does_not_fit_has_no_speed(on_gpus):
    memory = dataclasses.replace(on_gpus.memory, refused_bytes=10**12, fits=False)
    plan = dataclasses.replace(on_gpus, memory=memory)
    assert (plan.step_seconds, plan.pairs_per_second, plan.hours) == (None, None, None)


@pytest.mark.parametrize("name", ["on_gpus", "on_cpus"])
def test_json_tells_everything_printed(name, request):
    plan = request.getfixturevalue(name)
    values = json.loads(json.dumps(plan.to_json()))
    assert values["topology"]["chip"]["name"] == plan.topology.chip.name
    assert values["memory"]["total_bytes"] == plan.memory.total_bytes
    assert values["pairs_per_second"] == plan.pairs_per_second
    assert values["roofline"]["bound"] == plan.roofline.bound
    assert len(values["collectives"]) == len(plan.collectives)
    assert values["num_too_large_collectives"] == 0
