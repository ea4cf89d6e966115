import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.models.lanes import LANES, in_lanes
from clef_jax.models.matmul import matmul
from clef_jax.platforms import use_platform

PRODUCT = (LANES, 4, 3), (3, 5)


def constraints(function, *shapes):
    arguments = [jnp.ones(shape) for shape in shapes]
    text = str(jax.make_jaxpr(function)(*arguments))
    return text.count("layout_constraint")


def test_signals_that_fill_the_lanes_of_a_tpu_lie_in_them():
    with use_platform("tpu"):
        assert constraints(in_lanes, (2 * LANES, 4, 3)) == 1


@pytest.mark.parametrize("shape", [(LANES + 1, 4, 3), (LANES, 3), (LANES // 2, 4, 3)])
def test_other_arrays_lie_as_the_compiler_likes(shape):
    with use_platform("tpu"):
        assert not constraints(in_lanes, shape)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_other_machines_have_no_lanes(platform):
    with use_platform(platform):
        assert not constraints(in_lanes, (LANES, 4, 3))


def test_products_of_activations_and_their_gradients_keep_them_there():
    with use_platform("tpu"):
        assert constraints(matmul, *PRODUCT) == 2
        assert constraints(jax.grad(lambda *x: matmul(*x).sum()), *PRODUCT) == 5
        # The Toeplitz form's batches are groups, not signals.
        assert not constraints(matmul, (LANES, 4, 3), (LANES, 3, 5))


def test_no_number_changes():
    x, kernel = (jax.random.normal(jax.random.key(0), shape) for shape in PRODUCT)
    with use_platform("tpu"):
        got = jax.jit(matmul)(x, kernel)
    np.testing.assert_allclose(got, x @ kernel, rtol=1e-6, atol=1e-6)
