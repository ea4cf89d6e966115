"""The implementation for TPUs equals XLA's grouped convolution, also in its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.convolution.grouped import grouped_conv
from clef_jax.convolution.spatial import in_groups
from clef_jax.convolution.swish import swish


def value_and_gradients(implementation, layer, **settings):
    def loss(*layer):
        y = grouped_conv(*layer, implementation=implementation, **settings)
        return jnp.sin(y).sum(), y

    gradients, y = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*layer)
    return y, *gradients


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 14, 33])
def test_in_float64_it_is_xlas_to_the_last_digits(stride, groups, length):
    rng = np.random.default_rng(length)
    with jax.enable_x64(True):
        shapes = (2, length, 3 * groups), (16, 3, 4 * groups), (4 * groups,)
        layer = [jnp.asarray(rng.standard_normal(shape)) for shape in shapes]
        settings = {"stride": stride, "groups": groups}
        found = value_and_gradients("spatial", layer, **settings)
        want = value_and_gradients("lax", layer, **settings)
        for ours, theirs in zip(found, want, strict=True):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_the_swapped_kernel_is_exact_in_bfloat16():
    """Small integers, whose products and sums are exact in bfloat16."""
    rng = np.random.default_rng(0)
    x, kernel = rng.integers(-2, 3, (1, 9, 4)), rng.integers(-2, 3, (3, 2, 4))
    layer = [jnp.asarray(values, jnp.bfloat16) for values in (x, kernel)]

    def gradients(implementation):
        return jax.grad(
            lambda *layer: grouped_conv(
                *layer, stride=1, groups=2, implementation=implementation
            ).sum(),
            (0, 1),
        )(*layer)

    for ours, theirs in zip(gradients("spatial"), gradients("lax"), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_array_equal(ours.astype(jnp.float32), theirs.astype(jnp.float32))


def test_the_shape_changes_nothing_that_is_done_to_each_number():
    y, bias = jax.random.normal(jax.random.key(0), (2, 3, 6)), jnp.arange(6.0)
    np.testing.assert_array_equal(in_groups(jnp.add, y, bias, groups=3), y + bias[None, None])
    np.testing.assert_array_equal(in_groups(swish, y, groups=2), swish(y))
