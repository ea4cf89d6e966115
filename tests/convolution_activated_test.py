"""Products with swish, plain and by kernels of our own, have the same value and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.convolution import activated, in_place

RNG = np.random.default_rng(0)
X, KERNEL, BIAS, X_BIAS, FACTOR = (
    jnp.asarray(RNG.standard_normal(shape), jnp.float32)
    for shape in ((3, 50, 20), (20, 24), (24,), (20,), (24, 24))
)


@pytest.fixture(params=[False, True], ids=["", "kernel gradients in place"])
def own_kernels(request):
    with (
        activated.use_own_kernels(True, "cpu"),
        in_place.use_kernel_gradients_in_place(request.param),
    ):
        yield


def gate(params, mean):
    return jax.nn.sigmoid(mean @ params)


def assert_equal_trees(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * np.abs(b).max())


def values_and_gradients(function, *arguments):
    def total(*arguments):
        y = function(*arguments)
        return (y * weights).sum(), y

    weights = jnp.asarray(np.random.default_rng(1).standard_normal((3, 50, 24)), jnp.float32)
    numbers = tuple(range(len(arguments)))
    return jax.value_and_grad(total, argnums=numbers, has_aux=True)(*arguments)


def test_a_product_has_the_plain_gradients(own_kernels):
    def plain(x, kernel, bias):
        return jax.nn.silu(x) @ kernel + bias[None, None, :]

    want = values_and_gradients(plain, X, KERNEL, BIAS)
    assert_equal_trees(values_and_gradients(activated.product, X, KERNEL, BIAS), want)


def test_a_gated_product_has_the_plain_gradients(own_kernels):
    def plain(params, u, kernel, bias, x_bias):
        y = jax.nn.silu(u + x_bias[None, None, :]) @ kernel + bias[None, None, :]
        return y * gate(params, y.mean(axis=1))[:, None, :]

    def own(params, u, kernel, bias, x_bias):
        x = u + jax.lax.stop_gradient(x_bias)[None, None, :]
        return activated.gated_product(gate, params, x, kernel, bias, x_bias)

    arguments = (FACTOR, X, KERNEL, BIAS, X_BIAS)
    assert_equal_trees(
        values_and_gradients(own, *arguments), values_and_gradients(plain, *arguments)
    )


def test_a_bias_in_the_product_is_added_before_it_is_rounded():
    x = X.astype(jnp.bfloat16)
    with activated.use_bias_in_product(True):
        wide = activated.linear(x, KERNEL, BIAS)
        assert "preferred_element_type=float32" in str(
            jax.make_jaxpr(activated.linear)(x, KERNEL, BIAS)
        )
    rounded = KERNEL.astype(jnp.bfloat16).astype(jnp.float32)
    want = x.astype(jnp.float32) @ rounded + BIAS[None, None, :]
    np.testing.assert_array_equal(wide, want.astype(jnp.bfloat16))
    want = values_and_gradients(activated.linear, X, KERNEL, BIAS)
    with activated.use_bias_in_product(True):
        assert_equal_trees(values_and_gradients(activated.linear, X, KERNEL, BIAS), want)


def test_plain_operations_are_the_default():
    want = jax.make_jaxpr(activated.product)(X, KERNEL, BIAS)
    assert "pallas_call" not in str(want)
    assert not activated.uses_own_kernels()
    with activated.use_own_kernels(True):
        assert activated.uses_own_kernels()
        inner = jax.make_jaxpr(functools.partial(activated.product))(X, KERNEL, BIAS)
        with activated.use_own_kernels(False):
            assert not activated.uses_own_kernels()
    assert "pallas_call" in str(inner)
