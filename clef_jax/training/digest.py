"""Digests of arrays, which detect a damaged checkpoint."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def compute(state: Any) -> list[int]:
    """Returns one number per array of a state, which changes with any bit of the array.

    A digest is a sum of integers modulo 2^32, so it does not depend on the arrays' sharding.
    """
    return [int(x) for x in jax.device_get(_digests(jax.tree.leaves(state)))]


@jax.jit
def _digests(leaves: list[jax.Array]) -> list[jax.Array]:
    return [_digest(x) for x in leaves]


def _digest(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.uint8) if x.dtype == bool else x
    unsigned = jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}")
    # Numbers of 64 bits become pairs along a new last axis.
    bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
    # Each index has its own odd factor, so that flipped bits and swapped values change the sum.
    index = jnp.zeros((), jnp.uint32)
    for axis, length in enumerate(bits.shape):
        along_axis = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        index = index * np.uint32(length) + along_axis
    return jnp.sum(bits * (2 * index + 1), dtype=jnp.uint32)
