"""An objective of another package owns parameters, state and labels, which training keeps, shards,
saves and restores as it does the encoder's."""

import dataclasses

import jax
import momentum_objective
import numpy as np
import optax
import pytest
from culprits import refuses
from flax import nnx
from prepared import build_simulated
from training_step_test import CONFIG, SAMPLE_RATE_HZ, make_batch

from clef_jax import mesh as mesh_lib, objectives, train
from clef_jax.data import index as index_lib, label as label_lib, metadata
from clef_jax.objectives import Outcome
from clef_jax.training import arguments, checkpoint, state as state_lib, step as step_lib

pytestmark = pytest.mark.usefixtures("quick_compiler")


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    momentum_objective.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def make_trainer(num_devices, **settings):
    config = dataclasses.replace(CONFIG, objective="momentum", **settings)
    mesh = mesh_lib.make_mesh(jax.devices()[:num_devices])
    trainer = state_lib.make_trainer(config, optax.constant_schedule(1e-2), mesh)
    return trainer, step_lib.make_constants(config, SAMPLE_RATE_HZ, mesh)


def run(trainer, constants, batches, state=None):
    step = step_lib.make_train_step(trainer)
    state = trainer.init() if state is None else state
    for batch in batches:
        state, metrics = step(state, mesh_lib.to_devices(batch, trainer.mesh), constants)
    return state, metrics


def test_parameters_and_state_follow_the_steps():
    trainer, constants = make_trainer(1)
    first = jax.device_get(trainer.init())
    state, metrics = run(trainer, constants, [make_batch(n) for n in range(3)])
    assert {"loss", "away", "grad_norm"} <= set(metrics)
    own = jax.device_get((state.objective_params, state.objective_state))
    assert own[1]["num_updates"] == 3
    assert np.abs(own[0]["projector"] - first.objective_params["projector"]).max() > 1e-3
    # The momentum encoder lags behind: it has moved, and less than the encoder.
    leaves = (jax.tree.leaves(x) for x in (first.params, own[1]["encoder"], state.params))
    for start, lagging, trained in zip(*leaves, strict=True):
        moved, whole = np.abs(lagging - start).max(), np.abs(np.asarray(trained) - start).max()
        assert 0 < moved < whole
    # Three batches of 16 keys have gone through a queue of 32.
    assert not np.isin(own[1]["queue"], first.objective_state["queue"]).any()


def test_the_encoder_starts_as_with_any_objective():
    plain = dataclasses.replace(CONFIG, objective="simclr")
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    other = state_lib.make_trainer(plain, optax.constant_schedule(1e-2), mesh).init()
    ours = make_trainer(1)[0].init()
    for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.objective_params is None
    assert other.objective_state is None


@pytest.mark.parametrize(
    ("num_devices", "settings"),
    [
        (8, {}),
        (8, {"shard_optimizer": True}),
        (2, {"num_microbatches": 4, "remat": True}),
    ],
)
def test_any_arrangement_of_devices_computes_the_same(num_devices, settings):
    batches = [make_batch(n) for n in range(2)]
    want, _ = run(*make_trainer(1), batches)
    got, _ = run(*make_trainer(num_devices, **settings), batches)
    for name in ("params", "objective_params", "objective_state"):
        pairs = zip(
            jax.tree.leaves(getattr(got, name)), jax.tree.leaves(getattr(want, name)), strict=True
        )
        for a, b in pairs:
            np.testing.assert_allclose(a, b, atol=2e-4)


def test_the_optimiser_s_state_of_the_objective_is_divided_too():
    state = make_trainer(8, shard_optimizer=True)[0].init()
    projector = state.opt_state[0].mu[1]["projector"]
    assert not projector.sharding.is_fully_replicated
    assert state.objective_params["projector"].sharding.is_fully_replicated


def test_a_step_that_is_not_finite_changes_nothing():
    trainer, constants = make_trainer(1)
    bad = make_batch()
    bad["gain_per_mv"] = np.full_like(bad["gain_per_mv"], np.nan)
    before = jax.device_get(trainer.init())
    after, _ = run(trainer, constants, [bad])
    assert int(after.num_skipped) == 1
    for name in ("params", "objective_params", "objective_state"):
        for a, b in zip(
            jax.tree.leaves(getattr(after, name)),
            jax.tree.leaves(getattr(before, name)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def whole_state(workdir, config):
    mesh = mesh_lib.make_mesh()
    trainer = state_lib.make_trainer(config, optax.constant_schedule(1e-2), mesh)
    with checkpoint.Checkpoints(workdir) as checkpoints:
        step = checkpoints.latest_step
        return step, jax.device_get(checkpoints.restore(step, state_lib.abstract_state(trainer)))


def test_a_resumed_run_continues_bit_for_bit(data_dir, tmp_path):
    flags = [f"--data-dir={data_dir}", "--size=tiny", "--objective=momentum"]
    flags += ["--global-batch-size=16", "--health-every-steps=0", "--learning-rate=1e-2"]
    train.main([*flags, f"--workdir={tmp_path / 'a'}", "--num-steps=5"])
    train.main([*flags, f"--workdir={tmp_path / 'b'}", "--num-steps=2"])
    train.main([*flags, f"--workdir={tmp_path / 'b'}", "--num-steps=5"])
    config = arguments.parse([*flags, f"--workdir={tmp_path / 'a'}"])
    (step, straight), (_, resumed) = (whole_state(tmp_path / x, config) for x in "ab")
    assert step == straight.objective_state["num_updates"] == 5
    for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_come_with_the_records(tmp_path):
    made = build_simulated("ptb_xl/500hz", tmp_path)
    flags = [f"--data-dir={tmp_path / 'data'}", "--dataset=ptb_xl/500hz", "--size=tiny"]
    flags += ["--objective=momentum", "--preset=labelled", f"--workdir={tmp_path / 'run'}"]
    flags += ["--global-batch-size=8", "--health-every-steps=0", "--num-steps=2"]
    state = train.run(arguments.parse(flags))
    assert int(state.step) == 2
    assert int(state.num_skipped) == 0
    index = index_lib.load(made.data_path, "train")
    (label,) = label_lib.find(index, ["superdiagnostic"])
    stored = next(metadata.read_records(index, np.arange(1)))
    encoded = label_lib.encode(label, stored["superdiagnostic"])
    present = {name.encode() for name, x in zip(label["classes"], encoded, strict=True) if x == 1}
    assert present == set(stored["superdiagnostic"])
    with refuses("'superdiagnostik'", "'superdiagnostic'"):
        label_lib.find(index, ["superdiagnostik"])


def test_a_preset_sets_training_and_the_command_line_wins():
    flags = ["--data-dir=x", "--workdir=y", "--objective=momentum", "--preset=labelled"]
    config = arguments.parse(flags)
    assert (config.learning_rate, config.window_seconds) == (2e-3, 5.0)
    assert config.loss_config.label == "superdiagnostic"
    assert arguments.parse([*flags, "--learning-rate=3e-3"]).learning_rate == 3e-3
    assert arguments.parse(flags[:2]).learning_rate == 1e-4


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"terms": lambda inputs, config: {"loss": 0.0}}, "objective_without_loss"),
        ({"terms": lambda inputs, config: Outcome({"lost": 0.0})}, "objective_without_loss"),
        ({"terms": lambda inputs, config: Outcome({"loss": inputs.risk})}, "objective_not_scalar"),
        ({"init_params": lambda *given: {"w": np.zeros(2, np.int32)}}, "objective_params"),
        ({"init_params": lambda *given: nnx.Linear(2, 2, rngs=given[-1])}, "objective_params"),
        ({"update_state": lambda config, state, *rest: state["queue"]}, "objective_state"),
    ],
)
def test_an_objective_that_breaks_the_contract_is_named(changes, problem, monkeypatch):
    changed = dataclasses.replace(momentum_objective.OBJECTIVE, **changes)
    monkeypatch.setattr(momentum_objective, "OBJECTIVE", changed)
    with refuses("'momentum'", problem=problem):
        trainer, constants = make_trainer(1)
        run(trainer, constants, [make_batch()])


@pytest.mark.parametrize(
    ("training", "culprit"),
    [
        ({"learning_rat": 1.0}, "'learning_rate'"),
        ({"objective": "clef"}, "'objective'"),
        ({"process_id": 1}, "'process_id'"),
        ({"learning_rate": "fast"}, "'momentum'"),
        ({"global_batch_size": 0}, "--global-batch-size"),
    ],
)
def test_a_preset_with_settings_that_cannot_be_is_named(training, culprit, monkeypatch):
    preset = objectives.Preset(config=momentum_objective.Config(), training=training)
    changed = dataclasses.replace(momentum_objective.OBJECTIVE, presets={"paper": preset})
    monkeypatch.setattr(momentum_objective, "OBJECTIVE", changed)
    with refuses("'paper'", "'momentum'", culprit):
        arguments.parse(["--data-dir=x", "--workdir=y", "--objective=momentum"])


def test_an_objective_of_another_package_is_listed():
    assert "momentum" in objectives.names()
