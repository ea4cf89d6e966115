"""Gradients that are computed in their place equal the others, and a barrier keeps them there."""

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.convolution import in_place
from clef_jax.convolution.grouped import grouped_conv
from clef_jax.convolution.matmul import matmul


def loss(x, kernel, square):
    y = grouped_conv(x, kernel, stride=2, groups=2, implementation="even")
    return jnp.sin(matmul(y, square)).sum()


def gradients(is_requested):
    rng = np.random.default_rng(0)
    shapes = (2, 21, 4), (16, 2, 6), (6, 6)
    arrays = [jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes]
    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    with in_place.use_kernel_gradients_in_place(is_requested):
        lowered = differentiate.lower(*arrays)
    return lowered.compile()(*arrays), lowered.as_text()


def test_gradients_in_place_are_the_same_and_have_barriers():
    plain, plain_text = gradients(False)
    got, text = gradients(True)
    for a, b in zip(got, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert plain_text.count("optimization_barrier") == 0
    assert text.count("optimization_barrier") == 2
    assert not in_place.is_requested()
