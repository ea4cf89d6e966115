import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.convolution.lanes import LANES, in_lanes
from clef_jax.convolution.matmul import matmul
from clef_jax.machine import use_platform

PRODUCT = (LANES, 4, 3), (3, 5)


def constraints(function, *shapes):
    arguments = [jnp.ones(shape) for shape in shapes]
    text = str(jax.make_jaxpr(function)(*arguments))
    return text.count("layout_constraint")


def test_signals_that_fill_the_lanes_of_a_tpu_lie_in_them():
    assert constraints(functools.partial(in_lanes, platform="tpu"), (2 * LANES, 4, 3)) == 1


@pytest.mark.parametrize("shape", [(LANES + 1, 4, 3), (LANES, 3), (LANES // 2, 4, 3)])
def test_other_arrays_lie_as_the_compiler_likes(shape):
    assert not constraints(functools.partial(in_lanes, platform="tpu"), shape)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_other_machines_have_no_lanes(platform):
    assert not constraints(functools.partial(in_lanes, platform=platform), (LANES, 4, 3))


def for_tpu(x, kernel):
    with use_platform("tpu"):
        return matmul(x, kernel)


def test_products_of_activations_and_their_gradients_keep_them_there():
    assert constraints(for_tpu, *PRODUCT) == 2
    assert constraints(jax.grad(lambda *x: for_tpu(*x).sum()), *PRODUCT) == 5
    # The Toeplitz implementation's batches are groups, not signals.
    assert not constraints(for_tpu, (LANES, 4, 3), (LANES, 3, 5))


def test_no_number_changes():
    x, kernel = (jax.random.normal(jax.random.key(0), shape) for shape in PRODUCT)
    np.testing.assert_allclose(jax.jit(for_tpu)(x, kernel), x @ kernel, rtol=1e-6, atol=1e-6)
