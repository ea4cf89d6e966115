"""Every objective, those not yet written too, keeps the contract of `clef_jax.objectives`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax import objectives

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


def test_the_scan_finds_the_objectives_and_not_what_they_share():
    assert {"clef", "simclr"} <= set(NAMES)
    assert not any(name.startswith("_") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_is_well_formed(name):
    objective = objectives.load_one(name)
    assert "paper" in objective.PRESETS
    for config in objective.PRESETS.values():
        assert dataclasses.is_dataclass(config)
        assert isinstance(config, objective.Config)
        hash(config)
        terms = objective.terms(*batch(), config)
        assert "loss" in terms
        assert all(value.shape == () and np.isfinite(value) for value in terms.values())
    assert objective.Config() == objective.PRESETS["paper"]


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_is_the_same_on_every_mesh(name):
    objective = objectives.load_one(name)
    view_a, view_b, risk, completeness = batch()

    def loss(view_a, mesh):
        config = objective.PRESETS["paper"]
        return objective.terms(view_a, view_b, risk, completeness, config, mesh=mesh)["loss"]

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
    assert objectives.preset("clef", "released").nce_weight == 0.5
