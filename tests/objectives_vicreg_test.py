"""Tests of VICReg against its formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import objectives
from clef_jax.objectives import vicreg

pytestmark = pytest.mark.usefixtures("quick_compiler")


def formula(z_a, z_b):
    """The three parts, with every covariance written out."""
    num_rows, width = z_a.shape
    shortfalls, covariances = [], []
    for z in (z_a, z_b):
        variance = ((z - z.mean(axis=0)) ** 2).sum(axis=0) / (num_rows - 1)
        shortfalls.append(np.maximum(0, 1 - np.sqrt(variance + 1e-4)).mean())
        covariance = np.cov(z, rowvar=False)
        covariances.append((covariance**2).sum() - (np.diag(covariance) ** 2).sum())
    return ((z_a - z_b) ** 2).mean(), np.mean(shortfalls), sum(covariances) / width


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 8), (2, 3)])
def test_parts_and_loss_equal_the_formula(shape):
    rng = np.random.default_rng(0)
    z_a, z_b = rng.normal(size=(2, *shape)) * rng.uniform(0.2, 2, shape[1])
    want = formula(z_a, z_b)
    with jax.enable_x64(True):
        parts = vicreg.terms(jnp.asarray(z_a), jnp.asarray(z_b))
        got = [float(parts[name]) for name in ("invariance", "variance", "covariance")]
        np.testing.assert_allclose(got, want, rtol=1e-9)
        np.testing.assert_allclose(parts["loss"], 25 * want[0] + 25 * want[1] + want[2], rtol=1e-9)
        config = vicreg.Config(invariance_weight=2, variance_weight=3, covariance_weight=5)
        weighted = vicreg.loss(jnp.asarray(z_a), jnp.asarray(z_b), config)
        np.testing.assert_allclose(weighted, 2 * want[0] + 3 * want[1] + 5 * want[2], rtol=1e-9)
    single = vicreg.loss(z_a.astype(np.float32), z_b.astype(np.float32))
    np.testing.assert_allclose(single, 25 * want[0] + 25 * want[1] + want[2], rtol=1e-5)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_gradients_equal_differences_of_the_formula(shape):
    rng = np.random.default_rng(1)
    z_a, z_b, direction = rng.normal(size=(3, *shape))

    def loss(z_a):
        invariance, variance, covariance = formula(z_a, z_b)
        return 25 * invariance + 25 * variance + covariance

    want = (loss(z_a + 1e-6 * direction) - loss(z_a - 1e-6 * direction)) / 2e-6
    with jax.enable_x64(True):
        gradient = jax.grad(vicreg.loss)(jnp.asarray(z_a), jnp.asarray(z_b))
        np.testing.assert_allclose((gradient * direction).sum(), want, rtol=1e-6)


def test_collapsed_embeddings_have_a_loss_and_a_gradient():
    value, gradient = jax.value_and_grad(vicreg.loss)(jnp.ones((4, 6)), jnp.ones((4, 6)))
    np.testing.assert_allclose(value, 25 * 0.99, rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_the_expander_has_the_width_of_the_preset():
    def widths(config, width=6):
        sizes = objectives.Sizes(width, 4, {})
        params = jax.eval_shape(lambda: vicreg.OBJECTIVE.init_params(config, sizes, nnx.Rngs(0)))
        return params and [layer["weight"].shape for layer in params["expander"].values()]

    assert widths(vicreg.PAPER) == [(6, 24), (24, 24), (24, 24)]
    assert widths(vicreg.ORIGINAL) == [(6, 8192), (8192, 8192), (8192, 8192)]
    assert widths(vicreg.Config(expander_layers=0)) is None
    weights = vicreg.PAPER.invariance_weight, vicreg.PAPER.variance_weight
    assert (*weights, vicreg.PAPER.covariance_weight) == (25, 25, 1)


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"invariance_weight": -1}, "invariance_weight=-1"),
        ({"covariance_weight": float("nan")}, "covariance_weight=nan"),
        (dict.fromkeys(("invariance_weight", "variance_weight", "covariance_weight"), 0), "0"),
        ({"expander_layers": -2}, "expander_layers=-2"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, culprit):
    with refuses(culprit, error=ValueError):
        vicreg.Config(**settings)


def test_one_patient_has_no_variance():
    with refuses("at least two", error=ValueError):
        vicreg.loss(jnp.ones((1, 4)), jnp.ones((1, 4)))
