import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.convolution.swish import swish


def test_swish_and_its_gradient_are_those_of_jax():
    x = jnp.linspace(-90, 90, 361)
    np.testing.assert_array_equal(swish(x), jax.nn.silu(x))
    np.testing.assert_allclose(
        jax.grad(lambda x: swish(x).sum())(x),
        jax.grad(lambda x: jax.nn.silu(x).sum())(x),
        atol=1e-6,
    )


def test_swish_keeps_its_type():
    assert swish(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
