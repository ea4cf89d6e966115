"""The shortcut of a block is bit-identical on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.machine import use_platform
from clef_jax.models.shortcut import shortcut

pytestmark = pytest.mark.usefixtures("quick_compiler")

ALIKE = [[1, 1], [2, 2], [-3, -3], [0, -1]]
"""Two channels over four samples, with ties."""


def value_and_gradient(platform, x, channels):
    def weighted(x):
        with use_platform(platform):
            y = shortcut(x, 2, channels)
        return jnp.sum(y * (1 + jnp.arange(y.size).reshape(y.shape))), y

    (_, y), gradient = jax.value_and_grad(weighted, has_aux=True)(x)
    return np.asarray(y), np.asarray(gradient)


@pytest.mark.parametrize("length", [1, 2, 7, 10])
@pytest.mark.parametrize("channels", [3, 6, 8])
def test_values_and_gradients_do_not_depend_on_the_platform(length, channels):
    x = jax.random.normal(jax.random.key(length), (2, length, 3)).round(1)
    want = value_and_gradient("cpu", x, channels)
    assert want[0].shape == (2, -(-length // 2), channels)
    for ours, theirs in zip(value_and_gradient("tpu", x, channels), want, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_on_a_tie_the_first_sample_has_the_whole_gradient(platform):
    y, gradient = value_and_gradient(platform, jnp.asarray([ALIKE], jnp.float32), 2)
    np.testing.assert_array_equal(y, [[[2, 2], [0, -1]]])
    np.testing.assert_array_equal(gradient, [[[0, 0], [1, 2], [0, 0], [3, 4]]])
    _, gradient = value_and_gradient(platform, jnp.ones((1, 2, 1)), 1)
    np.testing.assert_array_equal(gradient[0, :, 0], [1, 0])


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_an_odd_length_ends_in_a_zero_and_what_is_not_a_number_stays(platform):
    y, _ = value_and_gradient(platform, jnp.asarray([[[-1.0], [np.nan], [-5.0]]]), 1)
    np.testing.assert_array_equal(y[0, :, 0], [np.nan, 0])


def test_a_stride_of_one_only_pads_channels():
    np.testing.assert_array_equal(shortcut(jnp.ones((1, 2, 2)), 1, 5)[0, 0], [0, 1, 1, 0, 0])
