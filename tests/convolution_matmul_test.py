import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.convolution.matmul import matmul
from clef_jax.machine import use_platform


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape"), [((5, 3), (3, 4)), ((2, 5, 3), (3, 4)), ((2, 5, 3), (2, 3, 4))]
)
def test_product_and_gradients_are_those_of_jax(x_shape, kernel_shape, platform):
    keys = jax.random.split(jax.random.key(0))
    x, kernel = jax.random.normal(keys[0], x_shape), jax.random.normal(keys[1], kernel_shape)
    want, pull_back = jax.vjp(jnp.matmul, x, kernel)
    with use_platform(platform):
        got, our_pull_back = jax.vjp(matmul, x, kernel)
        gradients = our_pull_back(jnp.cos(got))
    np.testing.assert_allclose(got, want, atol=1e-6)
    for ours, theirs in zip(gradients, pull_back(jnp.cos(want)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
