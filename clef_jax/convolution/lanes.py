"""Memory layout of a batch of signals on a TPU."""

import jax
from jax.experimental.layout import Layout, with_layout_constraint

LANES = 128
"""Numbers that a TPU's vector unit processes in parallel, along an array's innermost axis."""


def in_lanes(x: jax.Array, platform: str) -> jax.Array:
    """Makes the batch the innermost axis of [B, T, C], on a TPU and where it fills the lanes.

    `spatial_conv` takes and returns this layout. Without the constraint, XLA:TPU makes 128 or more
    channels innermost in the products between convolutions, and copies every activation twice.
    """
    if platform != "tpu" or x.ndim != 3 or x.shape[0] % LANES:
        return x
    return with_layout_constraint(x, Layout((1, 2, 0)))
