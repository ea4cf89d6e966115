"""A digest of any number format changes with any bit, and not with the sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax import mesh as mesh_lib
from clef_jax.training import digest


def test_the_digest_sees_any_bit_and_any_exchange_and_no_sharding():
    kernel = np.arange(64, dtype=np.float32).reshape(8, 8)
    (want,) = digest.compute(kernel)
    for bit in (0, 7, 22, 31):
        bits = kernel.view(np.uint32).copy()
        bits[3, 5] ^= np.uint32(1 << bit)
        assert digest.compute(bits.view(np.float32)) != [want]
    assert digest.compute(kernel[::-1].copy()) != [want]
    assert digest.compute(kernel.T.copy()) != [want]
    divided = jax.device_put(kernel, mesh_lib.rows(mesh_lib.make_mesh()))
    assert digest.compute(divided) == [want]


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "bfloat16", "float32", "int32"])
def test_numbers_of_any_width_have_a_digest(dtype):
    ones, zeros = jnp.ones((3, 2), dtype), jnp.zeros((3, 2), dtype)
    (changed,) = digest.compute(ones.at[1, 1].set(zeros[0, 0]))
    assert changed not in (*digest.compute(ones), *digest.compute(zeros))
