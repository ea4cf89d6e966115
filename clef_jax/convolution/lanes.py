"""Where a TPU keeps the signals of a batch."""

import jax
from jax.experimental.layout import Layout, with_layout_constraint

LANES = 128
"""Numbers that a TPU's processor takes side by side: an array's innermost axis lies in them."""


def in_lanes(x: jax.Array, platform: str) -> jax.Array:
    """[B, T, C] with its signals innermost, on a TPU and where they fill the lanes.

    `spatial_conv` takes and returns them so. Left to itself XLA:TPU has the products between the
    convolutions put 128 channels or more innermost, and copies every activation to and fro.
    """
    if platform != "tpu" or x.ndim != 3 or x.shape[0] % LANES:
        return x
    return with_layout_constraint(x, Layout((1, 2, 0)))
