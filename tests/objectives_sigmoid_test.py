"""Tests of the sigmoid loss against its formula in NumPy, and of its communication."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import mesh as mesh_lib, objectives
from clef_jax.objectives import sigmoid

pytestmark = pytest.mark.usefixtures("quick_compiler")

SCALE, BIAS = np.log(10.0), -10.0


def formula(view_a, view_b, scale, bias):
    total = 0.0
    for i, a in enumerate(view_a):
        for k, b in enumerate(view_b):
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            sign = 1 if i == k else -1
            total -= np.log(1 / (1 + np.exp(-sign * (np.exp(scale) * cosine + bias))))
    return total / len(view_a)


def make_views(num_patients=16, width=6, dtype=np.float64):
    return np.random.default_rng(0).normal(size=(2, num_patients, width)).astype(dtype)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize(("scale", "bias"), [(SCALE, BIAS), (0.3, 0.7)])
def test_the_loss_equals_the_formula(scale, bias, block_rows):
    view_a, view_b = make_views()
    with jax.enable_x64(True):
        given = jnp.asarray(view_a), jnp.asarray(view_b)
        got = sigmoid.loss(*given, scale, bias, block_rows=block_rows)
        np.testing.assert_allclose(got, formula(view_a, view_b, scale, bias), rtol=1e-9)


def test_gradients_equal_differences_of_the_formula():
    arrays = (*make_views(5), np.float64(SCALE), np.float64(BIAS))
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        gradients = jax.grad(sigmoid.loss, argnums=(0, 1, 2, 3))(*map(jnp.asarray, arrays))
        for number, gradient in enumerate(gradients):
            direction = rng.normal(size=np.shape(gradient))

            def along(distance, number=number, direction=direction):
                moved = list(arrays)
                moved[number] = moved[number] + distance * direction
                return formula(*moved)

            want = (along(1e-6) - along(-1e-6)) / 2e-6
            np.testing.assert_allclose((gradient * direction).sum(), want, rtol=1e-5)


def on_devices(num_devices, views, **options):
    mesh = mesh_lib.make_mesh(jax.devices()[:num_devices])
    rows, everywhere = mesh_lib.rows(mesh), mesh_lib.everywhere(mesh)

    def loss(view_a, view_b, scale, bias):
        return sigmoid.loss(view_a, view_b, scale, bias, mesh=mesh, **options)

    step = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1, 2, 3)),
        in_shardings=(rows, rows, everywhere, everywhere),
        out_shardings=(everywhere, (rows, rows, everywhere, everywhere)),
    )
    return step, (*views, views.dtype.type(SCALE), views.dtype.type(BIAS))


@pytest.mark.parametrize(("num_devices", "options"), [(1, {}), (2, {}), (8, {"block_rows": 1})])
def test_any_number_of_devices_computes_what_one_does(num_devices, options):
    with jax.enable_x64(True):
        views = make_views()
        want = jax.value_and_grad(sigmoid.loss, argnums=(0, 1, 2, 3))(*views, SCALE, BIAS)
        step, arguments = on_devices(num_devices, views, **options)
        got = step(*arguments)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_eight_devices_gather_nothing():
    step, arguments = on_devices(8, make_views(dtype=np.float32))
    text = step.lower(*arguments).compile().as_text()
    assert "collective-permute" in text
    assert "all-gather" not in text
    assert "all-to-all" not in text


def test_scale_and_bias_are_learned_from_those_of_the_paper():
    objective = objectives.load_one("sigmoid")
    params = objective.init_params(sigmoid.PAPER, objectives.Sizes(6, 16, {}), nnx.Rngs(0))
    np.testing.assert_allclose(params["log_scale"], np.log(10), rtol=1e-6)
    np.testing.assert_allclose(params["bias"], -10)


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"initial_scale": 0.0}, "initial_scale=0.0"),
        ({"initial_bias": float("nan")}, "initial_bias=nan"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, culprit):
    with refuses(culprit, error=ValueError):
        sigmoid.Config(**settings)


def test_patients_must_be_divisible_over_the_devices():
    step, arguments = on_devices(8, make_views(num_patients=12))
    with refuses("12", "8", error=ValueError):
        step(*arguments)
