"""Tests of BYOL's loss, predictor and target, against the public reference."""

import pathlib

import crc_weight
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import objectives
from clef_jax.objectives import _momentum, _network, byol

pytestmark = pytest.mark.usefixtures("quick_compiler")

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "momentum_public.npz")
TAGS = ("byol_N8_D16", "byol_N5_D7")
PREDICTOR_SEED = 4031


def golden(tag, *names):
    return [GOLDEN[f"{tag}/{name}"] for name in names]


@pytest.mark.parametrize("tag", TAGS)
def test_loss_and_gradients_equal_the_reference(tag):
    arrays = golden(tag, "p1", "z2", "p2", "z1")
    value, gradients = jax.value_and_grad(byol.loss, argnums=(0, 1, 2, 3))(*arrays)
    np.testing.assert_allclose(value, GOLDEN[f"{tag}/loss"], atol=1e-5)
    np.testing.assert_allclose(gradients[0], GOLDEN[f"{tag}/grad_p1"], atol=1e-5)
    np.testing.assert_allclose(gradients[2], GOLDEN[f"{tag}/grad_p2"], atol=1e-5)
    assert not np.any(gradients[1])
    assert not np.any(gradients[3])


@pytest.mark.parametrize("tag", TAGS)
def test_the_formula_is_symmetric_in_prediction_and_target(tag):
    """The reference's gradients of the targets, which check the formula only."""
    p1, z2, p2, z1 = golden(tag, "p1", "z2", "p2", "z1")
    gradients = jax.grad(lambda a, b: byol.loss(a, p1, b, p2), argnums=(0, 1))(z2, z1)
    np.testing.assert_allclose(gradients[0], GOLDEN[f"{tag}/grad_z2"], atol=1e-5)
    np.testing.assert_allclose(gradients[1], GOLDEN[f"{tag}/grad_z1"], atol=1e-5)


def reference_predictor(width):
    """Parameters and running statistics of the reference's predictor, in this package's layout."""
    hidden = width // 2

    def weight(key, *shape):
        return jnp.asarray(crc_weight.make_weight(key, shape, PREDICTOR_SEED))

    params = {
        "layer_1": {
            "weight": weight("0.weight", hidden, width).T,
            "bias": weight("0.bias", hidden),
            "norm_scale": weight("1.weight", hidden),
            "norm_shift": weight("1.bias", hidden),
        },
        "layer_2": {
            "weight": weight("3.weight", width, hidden).T,
            "bias": weight("3.bias", width),
        },
    }
    mean, variance = weight("1.running_mean", hidden), weight("1.running_var", hidden)
    return params, {"layer_1": {"mean": mean, "variance": variance}}


@pytest.mark.parametrize("tag", TAGS)
def test_the_predictor_equals_the_reference_with_both_kinds_of_statistics(tag):
    given, evaluated, trained, mean, variance = golden(
        tag,
        "pred_in",
        "pred_eval",
        "pred_train",
        "pred_running_mean_after",
        "pred_running_var_after",
    )
    params, running = reference_predictor(given.shape[1])
    made = byol.OBJECTIVE.init_params(
        byol.PAPER, objectives.Sizes(given.shape[1], len(given), {}), nnx.Rngs(0)
    )
    assert jax.tree.map(jnp.shape, made) == {"predictor": jax.tree.map(jnp.shape, params)}
    np.testing.assert_allclose(_network.apply_running(params, running, given), evaluated, atol=1e-5)
    output, statistics = _network.apply(params, jnp.asarray(given))
    np.testing.assert_allclose(output, trained, atol=1e-5)
    after = _network.update_statistics(running, statistics)["layer_1"]
    np.testing.assert_allclose(after["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(after["variance"], variance, atol=1e-6)


def outcome_of(config, step=0, num_steps=1, views=None):
    objective = objectives.load_one("byol")
    if views is None:
        views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
    sizes = objectives.Sizes(views.shape[2], views.shape[1], {})
    params = objective.init_params(config, sizes, nnx.Rngs(0))
    encoder = nnx.State({"w": nnx.Param(jnp.ones(3))})
    state = objective.init_state(config, sizes, encoder, params, nnx.Rngs(1))
    inputs = objectives.Inputs(
        view_a=views[0],
        view_b=views[1],
        risk=jnp.zeros(views.shape[1]),
        completeness=jnp.zeros(views.shape[1]),
        labels={},
        params=params,
        state=state,
        encode=lambda _: (views[0], views[1]),
        mesh=None,
        step=step,
        num_steps=num_steps,
    )
    return objective, params, state, objective.terms(inputs, config)


def test_running_statistics_follow_both_views():
    views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
    _, params, state, outcome = outcome_of(byol.PAPER, views=views)
    layer = params["predictor"]["layer_1"]
    mean, variance = np.zeros(4), np.ones(4)
    for view in np.asarray(views, float):
        hidden = view @ np.asarray(layer["weight"], float) + np.asarray(layer["bias"], float)
        mean = 0.9 * mean + 0.1 * hidden.mean(axis=0)
        variance = 0.9 * variance + 0.1 * hidden.var(axis=0, ddof=1)
    got = outcome.carry["statistics"]["predictor"]["layer_1"]
    np.testing.assert_allclose(got["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(got["variance"], variance, atol=1e-5)
    assert jax.tree.structure(state["statistics"]) == jax.tree.structure(
        outcome.carry["statistics"]
    )


def test_the_target_follows_the_trained_network_at_the_momentum_of_the_step():
    objective, params, state, outcome = outcome_of(byol.ORIGINAL, step=30, num_steps=100)
    momentum = 1 - (1 - 0.996) * (np.cos(np.pi * 0.3) + 1) / 2
    np.testing.assert_allclose(outcome.carry["momentum"], momentum, rtol=1e-6)
    trained = jax.tree.map(lambda x: x + 2, params)
    encoder = nnx.State({"w": nnx.Param(jnp.full(3, 5.0))})
    new = objective.update_state(byol.ORIGINAL, state, outcome.carry, encoder, trained)
    np.testing.assert_allclose(new["target"]["encoder"]["w"][...], 5 - 4 * momentum, rtol=1e-5)
    moved = jax.tree.map(lambda a, b: a - b, new["target"]["projector"], params["projector"])
    for leaf in jax.tree.leaves(moved):
        np.testing.assert_allclose(leaf, 2 * (1 - momentum), atol=1e-4)


def test_momentum_of_the_schedules():
    constant = [_momentum.at_step(0.996, "constant", k, 10) for k in (0, 5, 10)]
    np.testing.assert_allclose(constant, 0.996)
    rising = [_momentum.at_step(0.996, "cosine", k, 10) for k in (0, 5, 10, 12)]
    np.testing.assert_allclose(rising, [0.996, 0.998, 1, 1])


def test_presets_are_those_of_the_papers():
    assert byol.Config() == byol.PAPER
    assert (byol.PAPER.momentum, byol.PAPER.projection_width) == (0.996, 0)
    assert byol.PAPER.momentum_schedule == "constant"
    assert (byol.ORIGINAL.projection_width, byol.ORIGINAL.hidden_width) == (256, 4096)
    assert byol.OBJECTIVE.depends_on_num_steps(byol.ORIGINAL)
    _, params, _, _ = outcome_of(byol.ORIGINAL)
    shapes = {
        name: [layer["weight"].shape for layer in network.values()]
        for name, network in params.items()
    }
    assert shapes == {
        "projector": [(8, 4096), (4096, 256)],
        "predictor": [(256, 4096), (4096, 256)],
    }


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"momentum_schedule": "sine"}, "momentum_schedule='sine'"),
        ({"projection_width": 256}, "hidden_width"),
        ({"hidden_width": -1}, "hidden_width=-1"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, culprit):
    with refuses(culprit, error=ValueError):
        byol.Config(**settings)


def test_shapes_that_do_not_agree_are_refused():
    with refuses("(4, 3)", "(4, 2)", error=ValueError):
        byol.loss(jnp.ones((4, 3)), jnp.ones((4, 2)), jnp.ones((4, 3)), jnp.ones((4, 3)))
