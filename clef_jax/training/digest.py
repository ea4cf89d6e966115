"""Digests of arrays, by which a damaged checkpoint is noticed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def compute(state: Any) -> list[int]:
    """Returns a number for each array of a state, which changes with any bit of the array.

    Sums of whole numbers modulo 2^32, so it does not depend on how the arrays are divided.
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
    # An odd factor for each place: no flipped bit is lost, and no two values can change places.
    place = jnp.zeros((), jnp.uint32)
    for axis, length in enumerate(bits.shape):
        index = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        place = place * np.uint32(length) + index
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)
