"""An update does not depend on the number of devices."""

import dataclasses
import functools
import re

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from clef_jax import leads, mesh as mesh_lib, models
from clef_jax.config import TrainConfig
from clef_jax.data import label as label_lib
from clef_jax.signal.augment_config import AugmentConfig
from clef_jax.training import state as state_lib, step as step_lib

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compiler")]

SAMPLE_RATE_HZ, NUM_SAMPLES = 500.0, 500
CONFIG = TrainConfig(data_dir="", workdir="", size="tiny", global_batch_size=16, window_seconds=1.0)


def make_batch(seed=0, rows=16):
    """A batch of noise with missing samples, and partly unknown risks."""
    rng = np.random.default_rng(seed)
    adc = rng.integers(-400, 400, (rows, 2, NUM_SAMPLES)).cumsum(axis=-1) // 20
    adc[0, 0, 100:140] = -32768
    risk = rng.random(rows).astype(np.float32)
    risk[3] = np.nan
    return {
        "adc": adc.astype(np.int16),
        "gain_per_mv": np.full((rows, 2), 200, np.float32),
        "baseline": np.zeros((rows, 2), np.int32),
        "lead": rng.integers(0, len(leads.STANDARD_12), (rows, 2)).astype(np.int32),
        "risk": risk,
        "completeness": rng.integers(0, 7, rows).astype(np.float32) / 6,
    }


def make_trainer(num_devices=1, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    mesh = mesh_lib.make_mesh(jax.devices()[:num_devices])
    trainer = state_lib.make_trainer(config, optax.constant_schedule(1e-2), mesh)
    return trainer, step_lib.make_constants(config, SAMPLE_RATE_HZ, mesh)


def loss_and_gradient(num_devices, signals, **settings):
    """Computes in float64, so that rounding cannot hide a difference."""
    trainer, _ = make_trainer(num_devices, **settings)
    encoder = models.create_encoder("tiny", rngs=nnx.Rngs(0))  # activations as wide as the signals
    graph, params = nnx.split(encoder)
    trainer = dataclasses.replace(trainer, graph=graph)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        batch = mesh_lib.to_devices(make_batch() | {"signals": signals}, trainer.mesh)

        @jax.jit
        def compute(params, batch):
            def loss(params):
                return step_lib.loss_terms(trainer, params, batch["signals"], batch).terms["loss"]

            return jax.value_and_grad(loss)(params)

        return jax.device_get(compute(params, batch))


def views(num_devices):
    trainer, constants = make_trainer(num_devices)
    batch = mesh_lib.to_devices(make_batch(), trainer.mesh)
    make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
    return np.asarray(make(trainer, batch, constants, np.int32(7), CONFIG.augment))


@pytest.mark.parametrize("settings", [{}, {"num_microbatches": 4}])
def test_rows_of_several_rates_become_the_same_views_on_any_devices(settings):
    def compute(num_devices, **settings):
        trainer, _ = make_trainer(num_devices, **settings)
        constants = step_lib.make_constants(CONFIG, SAMPLE_RATE_HZ, trainer.mesh, (300, 500))
        batch = make_batch()
        batch["stored_length"] = np.array([0] * 5 + [1] * 11, np.int32)
        batch["adc"][:5, :, 300:] = -32768
        make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
        on_devices = mesh_lib.to_devices(batch, trainer.mesh)
        return np.asarray(make(trainer, on_devices, constants, np.int32(7), CONFIG.augment))

    one = compute(1)
    np.testing.assert_allclose(compute(4, **settings), one, atol=1e-5)
    np.testing.assert_allclose(one[5:], views(1)[5:], atol=1e-5)
    assert np.abs(one[:5] - views(1)[:5]).max() > 0.1


@pytest.fixture(scope="module")
def on_one_device():
    signals = views(1)
    return signals, loss_and_gradient(1, signals.astype(np.float64))


@pytest.mark.parametrize("num_devices", [2, 4, 8])
def test_any_number_of_devices_computes_what_one_does(num_devices, on_one_device):
    signals, (want_loss, want_gradient) = on_one_device
    np.testing.assert_allclose(views(num_devices), signals, atol=1e-5)
    loss, gradient = loss_and_gradient(num_devices, signals.astype(np.float64))
    assert loss.dtype == np.float64
    np.testing.assert_allclose(loss, want_loss, rtol=1e-9)
    for got, want in zip(jax.tree.leaves(gradient), jax.tree.leaves(want_gradient), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7 * np.abs(want).max())


@pytest.mark.parametrize(("num_devices", "num_microbatches"), [(1, 2), (1, 16), (4, 4)])
def test_microbatches_give_the_gradient_of_the_whole_batch(
    num_devices, num_microbatches, on_one_device
):
    signals, (want_loss, want_gradient) = on_one_device
    loss, gradient = loss_and_gradient(
        num_devices, signals.astype(np.float64), num_microbatches=num_microbatches
    )
    np.testing.assert_allclose(loss, want_loss, rtol=1e-9)
    for got, want in zip(jax.tree.leaves(gradient), jax.tree.leaves(want_gradient), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7 * np.abs(want).max())


def test_microbatches_draw_the_same_views_and_save_memory():
    trainer, constants = make_trainer(2, num_microbatches=8)
    batch = mesh_lib.to_devices(make_batch(), trainer.mesh)
    make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
    got = np.asarray(make(trainer, batch, constants, np.int32(7), CONFIG.augment))
    np.testing.assert_allclose(got, views(2), atol=1e-5)

    def temporary_bytes(num_microbatches):
        memory = compiled_step(1, num_microbatches=num_microbatches).memory_analysis()
        return memory.temp_size_in_bytes

    assert temporary_bytes(16) < temporary_bytes(1) / 4


@pytest.mark.parametrize("num_devices", [2, 8])
def test_a_divided_optimizer_makes_the_same_step(num_devices):
    want, _ = run(*make_trainer(num_devices), [make_batch()] * 3)
    trainer, constants = make_trainer(num_devices, shard_optimizer=True)
    got, _ = run(trainer, constants, [make_batch()] * 3)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_divided_optimizer_keeps_a_part_on_each_device():
    state = make_trainer(8, shard_optimizer=True)[0].init()
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.size >= 8]
    here = sum(x.addressable_shards[0].data.size for x in moments)
    assert here < 0.2 * sum(x.size for x in moments)
    for x in jax.tree.leaves(state.params):
        assert x.sharding.is_fully_replicated


@pytest.mark.parametrize("num_devices", [2, 4, 8])
def test_loss_of_the_step_agrees_between_devices_in_float32(num_devices):
    want = run(*make_trainer(1), [make_batch()])[1][0]
    got = run(*make_trainer(num_devices), [make_batch()])[1][0]
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-5)
    np.testing.assert_allclose(got["grad_norm"], want["grad_norm"], rtol=1e-3)


def compiled_step(num_devices, **settings):
    trainer, constants = make_trainer(num_devices, **settings)
    batch = mesh_lib.to_devices(make_batch(), trainer.mesh)
    return step_lib.make_train_step(trainer).lower(trainer.init(), batch, constants).compile()


def test_no_all_gather_is_as_large_as_the_signals():
    text = compiled_step(8).as_text()
    gathered = [
        np.prod([int(n) for n in shape.split(",") if n])
        for shape in re.findall(r"= \w+\[([\d,]*)\][^=]* all-gather(?:-start)?\(", text)
    ]
    assert gathered, "the embeddings at least must be gathered"
    assert max(gathered) < 16 * 2 * NUM_SAMPLES // 8


def run(trainer, constants, batches):
    state, step = trainer.init(), step_lib.make_train_step(trainer)
    metrics = []
    for batch in batches:
        state, values = step(state, mesh_lib.to_devices(batch, trainer.mesh), constants)
        metrics.append(jax.device_get(values))
    return jax.device_get(state), metrics


def test_loss_falls():
    batch = make_batch()
    batch["adc"][:, 1] = batch["adc"][:, 0]
    _, metrics = run(*make_trainer(2, augment=AugmentConfig.OFF), [batch] * 40)
    assert metrics[-1]["nce"] < 0.8 * metrics[0]["nce"]


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
    trainer, constants = make_trainer()
    bad = make_batch(1)
    bad["gain_per_mv"][5] = 0
    want, _ = run(trainer, constants, [make_batch()])
    state, metrics = run(trainer, constants, [make_batch(), bad])
    for got, kept in zip(jax.tree.leaves(state.params), jax.tree.leaves(want.params), strict=True):
        np.testing.assert_array_equal(got, kept)
    assert (state.step, state.num_skipped, state.num_skipped_in_a_row) == (2, 1, 1)
    assert not np.isfinite(metrics[1]["loss"])
    state, _ = run(trainer, constants, [bad, bad, make_batch()])
    assert (state.step, state.num_skipped, state.num_skipped_in_a_row) == (3, 2, 0)


def test_views_differ_from_step_to_step_and_not_from_run_to_run():
    trainer, constants = make_trainer()
    batch = mesh_lib.to_devices(make_batch(), trainer.mesh)
    make = jax.jit(
        lambda step: step_lib.make_views(trainer, batch, constants, step, CONFIG.augment)
    )
    np.testing.assert_array_equal(make(3), make(3))
    assert np.abs(np.asarray(make(3)) - make(4)).max() > 0.1


def test_bfloat16_activations_leave_parameters_and_loss_in_float32():
    trainer, constants = make_trainer(precision="bfloat16")
    state, metrics = run(trainer, constants, [make_batch()] * 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    exact = run(*make_trainer(precision="float32"), [make_batch()] * 3)[1]
    assert metrics[2]["loss"].dtype == np.float32
    assert metrics[2]["loss"] != exact[2]["loss"]
    np.testing.assert_allclose(metrics[2]["loss"], exact[2]["loss"], rtol=0.05)


@pytest.mark.parametrize("num_microbatches", [1, 4])
def test_remat_computes_the_same(num_microbatches):
    want = run(*make_trainer(num_microbatches=num_microbatches), [make_batch()])[1][0]
    trainer = make_trainer(remat=True, num_microbatches=num_microbatches)
    got = run(*trainer, [make_batch()])[1][0]
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5)


def test_gradient_clipping_bounds_the_first_step():
    before = jax.device_get(make_trainer()[0].init().params)
    trainer, constants = make_trainer(max_grad_norm=1e-30, weight_decay=0.0)
    state, _ = run(trainer, constants, [make_batch()])
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-8)


def test_every_objective_trains(subtests):
    from clef_jax import objectives

    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    for name, objective in objectives.load().items():
        with subtests.test(name):
            config = dataclasses.replace(CONFIG, objective=name)
            widths = dict.fromkeys(objective.labels(config.loss_config), 3)
            rate = optax.constant_schedule(1e-2)
            trainer = state_lib.make_trainer(config, rate, mesh, label_widths=widths)
            constants = step_lib.make_constants(config, SAMPLE_RATE_HZ, mesh)
            labels = {label_lib.PREFIX + x: np.eye(16, 3, dtype=np.float32) for x in widths}
            _, metrics = run(trainer, constants, [make_batch() | labels] * 2)
            assert np.isfinite(metrics[-1]["loss"])


def test_cohort_of_the_data_set_completes_the_objective():
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    quantiles = np.linspace(0, 0.5, 101)
    trainer = state_lib.make_trainer(CONFIG, optax.constant_schedule(1e-3), mesh, cohort=quantiles)
    np.testing.assert_allclose(trainer.loss_config.cohort, quantiles)


def test_views_go_by_the_platform_that_the_step_is_for():
    trainer, constants = make_trainer()
    make = functools.partial(step_lib.make_views, augment=CONFIG.augment)

    def program(platform):
        chosen = dataclasses.replace(trainer, platform=platform)
        return str(jax.make_jaxpr(functools.partial(make, chosen))(make_batch(), constants, 0))

    assert " fft[" in program("cpu")
    assert " fft[" not in program("tpu")
