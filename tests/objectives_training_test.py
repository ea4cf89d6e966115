"""Objectives with parameters and state, in the real training step: devices, microbatches, resuming,
and the moving average of the weights."""

import dataclasses
import itertools
import pathlib
import typing

import jax
import numpy as np
import optax
import pytest
from culprits import refuses
from flax import nnx
from train_command import STEPS, finish, kill_after, start
from training_step_test import CONFIG, SAMPLE_RATE_HZ, make_batch

import clef_jax
from clef_jax import command_line, embed, mesh as mesh_lib, models, objectives
from clef_jax.config import differences, from_saved, saved
from clef_jax.embedding import config_file
from clef_jax.evaluation import models as models_lib
from clef_jax.objectives import _cosine, _network, byol, moco, sigmoid, simclr, vicreg
from clef_jax.training import checkpoint, state as state_lib, step as step_lib

pytestmark = pytest.mark.usefixtures("quick_compiler")

CASES = {
    "moco": moco.Config(queue_size=40, projection_width=4, momentum=0.9),
    "byol": byol.Config(
        momentum=0.9, momentum_schedule="cosine", projection_width=6, hidden_width=10
    ),
}
"""Settings with every part of the state, small."""
DECAY = 0.75


def make_trainer(name, num_devices=1, **settings):
    config = dataclasses.replace(CONFIG, objective=name, objective_config=CASES[name], **settings)
    mesh = mesh_lib.make_mesh(jax.devices()[:num_devices])
    return state_lib.make_trainer(config, optax.constant_schedule(1e-2), mesh, num_steps=8)


def make_signals():
    return np.random.default_rng(0).normal(size=(16, 2, 200))


def loss_gradient_and_carry(name, num_devices, **settings):
    """Computes in float64, so that rounding cannot hide a difference."""
    trainer = make_trainer(name, num_devices, **settings)
    state = jax.device_get(make_trainer(name).init())
    graph, _ = nnx.split(models.create_encoder("tiny", rngs=nnx.Rngs(0)))
    trainer = dataclasses.replace(trainer, graph=graph)
    with jax.enable_x64(True):
        trained, own_state = jax.tree.map(
            lambda x: x.astype(np.float64) if x.dtype == np.float32 else x,
            ((state.params, state.objective_params), state.objective_state),
        )
        batch = mesh_lib.to_devices(make_batch() | {"signals": make_signals()}, trainer.mesh)

        @jax.jit
        def compute(trained, own_state, batch):
            def loss(trained):
                outcome = step_lib.loss_terms(
                    trainer, trained[0], batch["signals"], batch, trained[1], own_state, 3
                )
                return outcome.terms["loss"], outcome.carry

            return jax.value_and_grad(loss, has_aux=True)(trained)

        return jax.device_get(compute(trained, own_state, batch))


@pytest.mark.parametrize("name", CASES)
def test_devices_and_microbatches_change_neither_gradient_nor_keys_nor_statistics(name):
    (want_loss, want_carry), want_gradient = loss_gradient_and_carry(name, 1)
    assert want_loss.dtype == np.float64
    (loss, carry), gradient = loss_gradient_and_carry(name, 8, num_microbatches=2)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-9)
    got_and_want = ((gradient, carry), (want_gradient, want_carry))
    for got, want in zip(*map(jax.tree.leaves, got_and_want), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7 * np.abs(want).max() + 1e-12)


@dataclasses.dataclass
class Steps:
    """A trainer, and its states after 0, 1, 2, 3 good steps and a bad one."""

    trainer: state_lib.Trainer
    constants: step_lib.Constants
    step: typing.Callable
    states: list

    def next(self, state, number):
        batch = make_batch(number)
        if number == BAD:
            batch["gain_per_mv"] = np.full_like(batch["gain_per_mv"], np.nan)
        return self.step(state, mesh_lib.to_devices(batch, self.trainer.mesh), self.constants)[0]


BAD = 3


@pytest.fixture(scope="module", params=CASES)
def steps(request):
    trainer = make_trainer(request.param, ema_decay=DECAY)
    constants = step_lib.make_constants(trainer.config, SAMPLE_RATE_HZ, trainer.mesh)
    made = Steps(trainer, constants, step_lib.make_train_step(trainer), [])
    state = trainer.init()
    made.states.append(jax.device_get(state))
    for number in (0, 1, 2, BAD):
        state = made.next(state, number)
        made.states.append(jax.device_get(state))
    return made


def assert_same(got, want, atol=0.0):
    got, want = jax.device_get((got, want))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)


def test_a_restored_state_continues_bit_for_bit(steps, tmp_path):
    facts = {"config": saved(steps.trainer.config), "data": {}}
    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save_last(steps.states[2], 2, facts)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(2, state_lib.abstract_state(steps.trainer))
    assert_same(steps.next(restored, 2), steps.states[3])


def test_a_step_that_is_not_finite_keeps_state_and_average(steps):
    before, after = steps.states[3:5]
    assert int(after.num_skipped) == 1
    for field in ("params", "objective_params", "objective_state", "ema_params"):
        assert_same(getattr(after, field), getattr(before, field))


def test_momentum_networks_and_average_follow_after_the_optimiser(steps):
    for number, (old, new) in enumerate(itertools.pairwise(steps.states[:4])):
        before, after = old.objective_state, new.objective_state
        momentum = 0.9
        if "target" in after:
            before, after = before["target"], after["target"]
            momentum = 1 - 0.1 * (np.cos(np.pi * number / 8) + 1) / 2
        trained = {"encoder": new.params, "projector": new.objective_params["projector"]}
        for name, network in trained.items():
            want = jax.tree.map(lambda a, b, m=momentum: m * a + (1 - m) * b, before[name], network)
            assert_same(after[name], want, atol=1e-6)
        want = jax.tree.map(lambda a, b: DECAY * a + (1 - DECAY) * b, old.ema_params, new.params)
        assert_same(new.ema_params, want, atol=1e-6)
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), new.ema_params, new.params)
        assert max(jax.tree.leaves(moved)) > 1e-3


def test_without_a_decay_there_is_no_average():
    assert jax.eval_shape(make_trainer("moco").init).ema_params is None


@pytest.mark.parametrize("steps", ["moco"], indirect=True)
def test_the_queue_takes_the_keys_of_the_momentum_networks_and_wraps(steps):
    first, second, _, third, _ = (state.objective_state for state in steps.states)
    embed_views = step_lib.make_embed_step(steps.trainer, steps.trainer.config.augment)
    batch = mesh_lib.to_devices(make_batch(0), steps.trainer.mesh)
    _, view_b = embed_views(steps.states[0].params, batch, steps.constants)
    keys = _cosine.unit(_network.apply(first["projector"], view_b)[0])
    np.testing.assert_allclose(second["queue"][:, :16], keys.T, atol=1e-5)
    np.testing.assert_array_equal(second["queue"][:, 16:], first["queue"][:, 16:])
    assert int(third["pointer"]) == 3 * 16 % 40
    assert not (third["queue"] == first["queue"]).all(axis=0).any()
    np.testing.assert_allclose(np.linalg.norm(third["queue"], axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("objective", "own"),
    [
        (simclr.OBJECTIVE, simclr.ORIGINAL),
        (vicreg.OBJECTIVE, vicreg.Config(expander_width=8)),
        (moco.OBJECTIVE, dataclasses.replace(moco.V3, hidden_width=8)),
        (sigmoid.OBJECTIVE, sigmoid.PAPER),
    ],
)
def test_all_parameters_of_an_objective_have_a_gradient(objective, own):
    views = jax.numpy.asarray(np.random.default_rng(0).normal(size=(2, 16, 6)), np.float32)
    sizes = objectives.Sizes(6, 16, {})
    params = objective.init_params(own, sizes, nnx.Rngs(0))
    state = None
    if objective.init_state is not None:
        state = objective.init_state(own, sizes, nnx.State({}), params, nnx.Rngs(1))
    unknown = jax.numpy.full(16, np.nan)

    def loss(params):
        inputs = objectives.Inputs(
            *views, unknown, unknown, {}, params, state, lambda _: tuple(views), None
        )
        return objective.terms(inputs, own).terms["loss"]

    gradient = jax.jit(jax.grad(loss))(params)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for name, leaf in zip(names, jax.tree.leaves(gradient), strict=True):
        # Batch norm removes a bias before it.
        assert np.abs(leaf).max() > 0 or "bias" in name


def whole_state(workdir):
    with checkpoint.Checkpoints(pathlib.Path(workdir)) as checkpoints:
        step = checkpoints.latest_step
        config = from_saved(checkpoints.run(step)["config"])
        mesh = mesh_lib.make_mesh(jax.devices()[:1])
        trainer = state_lib.make_trainer(config, optax.constant_schedule(1e-3), mesh)
        return step, jax.device_get(checkpoints.restore(step, state_lib.abstract_state(trainer)))


def test_kill_9_changes_no_bit_of_queue_target_statistics_and_average(data_dir, tmp_path):
    """With cheap steps, which change every array of the state by every value of the batch."""
    settings = {"objective": "byol", "ema_decay": 0.9}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(start(data_dir, straight, cheap_seconds=0.0, **settings))
    kill_after(start(data_dir, killed, cheap_seconds=0.2, **settings), killed, 7, saved=True)
    assert "after step 5" in finish(start(data_dir, killed, cheap_seconds=0.0, **settings))
    (step, want), (_, got) = whole_state(straight), whole_state(killed)
    assert step == STEPS
    assert set(got.objective_state) == {"target", "statistics"}
    assert got.ema_params is not None
    assert_same(got, want)


@pytest.fixture
def averaged_run(steps, tmp_path):
    """A run of three steps that keeps an average of its weights."""
    facts = {
        "config": saved(steps.trainer.config),
        "data": {},
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "position": {"next_step": 3, "pairs_seen": 48},
    }
    workdir = tmp_path / "run"
    with checkpoint.Checkpoints(workdir, keep=1) as checkpoints:
        checkpoints.save_last(steps.states[3], 3, facts)
    return workdir, steps.states[3]


@pytest.mark.parametrize("steps", ["moco"], indirect=True)
def test_a_run_gives_its_weights_or_their_average(averaged_run, tmp_path):
    workdir, state = averaged_run
    trained, average = clef_jax.load(workdir), clef_jax.load(workdir, weights="ema")
    assert_same(trained.embedder.params, state.params)
    assert_same(average.embedder.params, state.ema_params)
    assert trained.fingerprint != average.fingerprint
    folder = average.save(tmp_path / "model")
    assert config_file.read(folder / "config.json")["run"]["weights"] == (
        "moving average, decay 0.75"
    )
    assert "moving average, decay 0.75" in (folder / "README.md").read_text()
    assert "moving average" not in (trained.save(tmp_path / "other") / "README.md").read_text()
    with refuses(folder, "--weights=ema", problem="no_average"):
        clef_jax.load(folder, weights="ema")


@pytest.mark.parametrize("steps", ["moco"], indirect=True)
def test_embed_and_evaluate_ask_for_the_average(averaged_run, tmp_path):
    workdir, _ = averaged_run
    signal = np.random.default_rng(0).normal(size=(1, 1000)).astype(np.float32)
    np.save(tmp_path / "signal.npy", signal)
    flags = [f"--model={workdir}", f"--input={tmp_path / 'signal.npy'}", "--sample-rate-hz=500"]
    flags += ["--unit=mV", "--weights=ema", f"--out={tmp_path / 'out.npz'}"]
    embed.run(command_line.parse(embed.SETTINGS, flags, "embed"))
    with np.load(tmp_path / "out.npz") as stored:
        features = stored["embedding"]
    model = clef_jax.load(workdir, weights="ema")
    np.testing.assert_allclose(features, model.embed(signal, 500.0), atol=1e-5)
    assert np.abs(features - clef_jax.load(workdir).embed(signal, 500.0)).max() > 1e-4
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    options = {"size": "tiny", "num_seeds": 1, "seed": 0}
    (found,) = models_lib.collect([str(workdir)], "none", mesh, weights="ema", **options)
    assert found.fingerprint == model.fingerprint


@pytest.mark.parametrize("steps", ["moco"], indirect=True)
def test_a_run_without_an_average_is_named(averaged_run, tmp_path):
    workdir, state = averaged_run
    plain = dataclasses.replace(state, ema_params=None)
    with checkpoint.Checkpoints(workdir) as checkpoints:
        facts = checkpoints.run(3)
    facts["config"] |= {"ema_decay": None}
    other = tmp_path / "other"
    with checkpoint.Checkpoints(other, keep=1) as checkpoints:
        checkpoints.save_last(plain, 3, facts)
    with refuses(other, "--ema-decay", problem="no_average"):
        clef_jax.load(other, weights="ema")
    assert_same(clef_jax.load(other).embedder.params, state.params)


def test_settings_that_came_later_do_not_stop_an_old_run():
    new = saved(dataclasses.replace(CONFIG, objective="simclr"))
    old = saved(dataclasses.replace(CONFIG, objective="simclr"))
    del old["ema_decay"], old["exclude"], old["objective_config"]["projection_width"]
    assert not differences(old, new)
    projected = saved(
        dataclasses.replace(CONFIG, objective="simclr", objective_config=simclr.ORIGINAL)
    )
    assert any("projection_width" in line for line in differences(old, projected))


def test_more_steps_would_stretch_a_schedule_of_the_objective():
    def settings(own, num_steps):
        return saved(
            dataclasses.replace(CONFIG, objective="byol", objective_config=own, num_steps=num_steps)
        )

    told = differences(settings(byol.ORIGINAL, 10), settings(byol.ORIGINAL, 20))
    assert any("num_steps" in line and "byol" in line for line in told)
    assert not differences(settings(byol.PAPER, 10), settings(byol.PAPER, 20))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_cannot_be_is_refused(decay):
    with refuses(f"--ema-decay={decay}"):
        dataclasses.replace(CONFIG, ema_decay=decay)
