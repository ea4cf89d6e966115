"""Cosine similarities whose norms have a lowest value, with gradients also at zero.

Shapes: N rows, D embedding.
"""

import jax
import jax.numpy as jnp

NORM_FLOOR = 1e-12
"""Smallest divisor when an embedding is divided by its norm."""


def widen(x: jax.Array) -> jax.Array:
    """Returns an array in float32, or in float64 if it has it: losses need this precision."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def unit(x: jax.Array) -> jax.Array:
    """Returns vectors [..., D] divided by their norms, in float32 or float64; zeros stay zeros."""
    x = widen(x)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    # The square root has no derivative at 0, hence the inner `where`.
    positive = square > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    return x / jnp.maximum(norm, NORM_FLOOR)


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the cosine similarity of the rows of two arrays, [..., D] to [...]."""
    return jnp.sum(unit(a) * unit(b), axis=-1)


def check_pair(a: jax.Array, b: jax.Array, names: str = "two views") -> None:
    """Raises ValueError unless two arrays have the same shape [patients, embedding]."""
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(
            f"The {names} must have the same shape [patients, embedding]; they have "
            f"{a.shape} and {b.shape}."
        )
