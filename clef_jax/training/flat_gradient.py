"""The gradient of the encoder as a few long vectors, for GPUs.

On a GPU each operation costs a start of its own, and a third of a step's operations handled one
parameter each: parts of exchanges, sums of squares, selections. Here the parameters pass through an
identity whose gradient is the concatenation of all their gradients, by buckets. The exchange
between devices and the norm are computed of the buckets; optimiser, state and checkpoints keep
their arrays.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BUCKET_BYTES = 48 * 2**20
"""Size at which a bucket is full. One bucket alone could only be exchanged after the whole backward
pass; with several, the exchange of one runs beside the computation of the next."""


def empty_buckets(params: Any) -> list[jax.Array]:
    """Returns the vectors, float32 and zero, by which a loss is differentiated."""
    leaves = jax.tree.leaves(params)
    return [
        jnp.zeros(sum(leaves[i].size for i in bucket), jnp.float32) for bucket in _division(leaves)
    ]


def attach(params: Any, buckets: Sequence[jax.Array]) -> Any:
    """Returns the parameters, so that a function of them has a gradient by `buckets`.

    Args:
        params: tree of float32 arrays; a gradient by them is not available.
        buckets: vectors of `empty_buckets`, whose values have no effect.
    """
    leaves, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, _attach(jax.lax.stop_gradient(leaves), list(buckets)))


@jax.custom_vjp
def _attach(leaves: list[jax.Array], buckets: list[jax.Array]) -> list[jax.Array]:
    del buckets  # only their gradient is of use
    return leaves


def _forward(leaves: list[jax.Array], buckets: list[jax.Array]):
    return _attach(leaves, buckets), None


def _backward(_, gradients: list[jax.Array]):
    buckets = [
        jnp.concatenate([gradients[i].reshape(-1) for i in bucket])
        for bucket in _division(gradients)
    ]
    return None, buckets


_attach.defvjp(_forward, _backward)


def to_tree(buckets: Sequence[jax.Array], params: Any) -> Any:
    """Returns the gradient as a tree like the parameters."""
    leaves, structure = jax.tree.flatten(params)
    gradients: list[Any] = [None] * len(leaves)
    for bucket, vector in zip(_division(leaves), buckets, strict=True):
        sizes = [leaves[i].size for i in bucket]
        ends = np.cumsum(sizes)
        for i, size, end in zip(bucket, sizes, ends, strict=True):
            part = jax.lax.slice(vector, (int(end) - size,), (int(end),))
            gradients[i] = part.reshape(leaves[i].shape)
    return jax.tree.unflatten(structure, gradients)


def _division(leaves: Sequence[jax.Array]) -> list[list[int]]:
    """Returns the indices of the arrays of each bucket, in their order."""
    division: list[list[int]] = [[]]
    filled = 0
    for i, leaf in enumerate(leaves):
        if filled >= BUCKET_BYTES:
            division.append([])
            filled = 0
        division[-1].append(i)
        filled += leaf.size * np.dtype(np.float32).itemsize
    return division
