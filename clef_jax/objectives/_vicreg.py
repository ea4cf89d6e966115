"""Parts of the loss of the objective in `vicreg`.

Shapes: N patients of the global batch, d features of the expander.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax.objectives import _cosine

if TYPE_CHECKING:
    from clef_jax.objectives.vicreg import Config

_EPSILON = 1e-4
"""Added to the variance before its square root."""


def terms(z_a: jax.Array, z_b: jax.Array, config: "Config") -> dict[str, jax.Array]:
    """Returns the loss and its parts; see `vicreg.terms`."""
    _cosine.check_pair(z_a, z_b)
    if len(z_a) < 2:
        raise ValueError("One patient has no variance; give at least two.")
    dtype = jnp.promote_types(jnp.result_type(z_a, z_b), jnp.float32)
    views = [z.astype(dtype) for z in (z_a, z_b)]
    centred = [z - z.mean(axis=0, keepdims=True) for z in views]
    variances = [jnp.sum(z * z, axis=0) / (len(z) - 1) for z in centred]
    shortfalls = [jnp.mean(jax.nn.relu(1 - jnp.sqrt(v + _EPSILON))) for v in variances]
    parts = {
        "invariance": jnp.mean(jnp.square(views[0] - views[1])),
        "variance": (shortfalls[0] + shortfalls[1]) / 2,
        "covariance": _off_diagonal(centred[0]) + _off_diagonal(centred[1]),
    }
    total = sum(getattr(config, f"{name}_weight") * value for name, value in parts.items())
    return {"loss": jnp.asarray(total), **parts}


def _off_diagonal(centred: jax.Array) -> jax.Array:
    """Returns the sum of the squared covariances of different features, divided by d."""
    num_rows, width = centred.shape
    if num_rows < width:
        # The squares of all covariances have the same sum as those of the products of the rows,
        # which are fewer: 8,192 features would take 256 MiB.
        squares = jnp.sum(_product(centred, centred.T) ** 2)
        total = squares - jnp.sum(jnp.sum(centred**2, axis=0) ** 2)
    else:
        covariance = _product(centred.T, centred)
        total = jnp.sum(jnp.where(jnp.eye(width, dtype=bool), 0, covariance) ** 2)
    return total / (num_rows - 1) ** 2 / width


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)
