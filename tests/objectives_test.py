"""Every discovered objective keeps the contract of `clef_jax.objectives`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import objectives
from clef_jax.config import TrainConfig

NAMES = sorted(objectives.load())


def batch(num_patients=8, dimension=6, seed=0):
    rng = np.random.default_rng(seed)
    views = rng.standard_normal((2, num_patients, dimension)).astype(np.float32)
    risk = rng.gamma(2, 0.04, num_patients).astype(np.float32)
    completeness = rng.integers(0, 7, num_patients).astype(np.float32) / 6
    return (
        jnp.asarray(views[0]),
        jnp.asarray(views[1]),
        jnp.asarray(risk),
        jnp.asarray(completeness),
    )


def inputs(objective, config):
    """Inputs of the objective in the first step."""
    view_a, view_b, risk, completeness = batch()
    widths = dict.fromkeys(objective.labels(config), 3)
    sizes = objectives.Sizes(view_a.shape[1], len(view_a), widths)
    rng, rngs = np.random.default_rng(1), nnx.Rngs(0)
    encoder_params = nnx.State({})
    params = state = None
    if objective.init_params is not None:
        params = objective.init_params(config, sizes, rngs)
    if objective.init_state is not None:
        state = objective.init_state(config, sizes, encoder_params, params, rngs)
    labels = {
        name: jnp.asarray(rng.integers(0, 2, (len(view_a), width)), jnp.float32)
        for name, width in widths.items()
    }
    return objectives.Inputs(
        view_a=view_a,
        view_b=view_b,
        risk=risk,
        completeness=completeness,
        labels=labels,
        params=params,
        state=state,
        encode=lambda _: (view_a, view_b),
        mesh=None,
    )


def test_modules_with_an_underscore_are_no_objectives():
    assert {"clef", "simclr"} <= set(NAMES)
    assert not any(name.startswith("_") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_is_well_formed(name):
    objective = objectives.load_one(name)
    assert "paper" in objective.presets
    settings = {field.name for field in dataclasses.fields(TrainConfig)}
    for preset in objective.presets.values():
        assert dataclasses.is_dataclass(preset.config)
        assert type(preset.config) is type(objective.presets["paper"].config)
        hash(preset.config)
        assert set(preset.training) <= settings
        terms = objective.terms(inputs(objective, preset.config), preset.config).terms
        assert "loss" in terms
        assert all(value.shape == () and np.isfinite(value) for value in terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_is_the_same_on_every_mesh(name):
    objective = objectives.load_one(name)
    config = objective.presets["paper"].config
    given = inputs(objective, config)
    view_a = given.view_a

    def loss(view_a, mesh):
        changed = given._replace(view_a=view_a, mesh=mesh)
        return objective.terms(changed, config).terms["loss"]

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    want, want_gradient = step(view_a, None)
    value, gradient = step(view_a, mesh)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-5)


def test_unknown_names_get_the_nearest():
    with refuses("'clff'", "'clef'"):
        objectives.load_one("clff")
    with refuses("'clef'", "'papper'", "'paper'"):
        objectives.preset("clef", "papper")


def test_a_preset_is_found_by_name():
    assert objectives.preset("clef", "released").config.nce_weight == 0.5
