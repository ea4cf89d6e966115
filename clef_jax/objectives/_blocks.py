"""Computes large tables of similarities in blocks of rows, so that memory holds one block.

Shapes: n rows of this device, P rows of a block.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax import machine
from clef_jax.errors import counted

_PLAIN_SIMILARITIES = 2048 * 2048
"""Largest number of similarities on a device that are computed in one block."""

_BLOCK_SIMILARITIES = 1 << 20
"""Similarities of a block if there are several blocks: 4 MiB in float32."""

_TPU_SIMILARITIES = 1 << 24
"""Replaces both numbers on a TPU: 64 MiB. Every block adds to the gradient of all embeddings, which
costs memory traffic: with 32,768 patients on 256 v5e chips, the compiler estimates 2.9 million
cycles for the loss and its gradient in one block, and 18.1 million in sixteen."""


def size(num_rows: int, similarities_per_row: int) -> int:
    """Returns the number of rows that are computed at a time, at most `num_rows`."""
    plain, block = _PLAIN_SIMILARITIES, _BLOCK_SIMILARITIES
    if machine.current_platform() == "tpu":
        plain = block = _TPU_SIMILARITIES
    if num_rows * similarities_per_row <= plain:
        return num_rows
    return min(num_rows, max(1, block // similarities_per_row))


def split(x: jax.Array, size: int, axis: int = 0) -> jax.Array:
    """Splits an axis into blocks of `size`, pads the last with zeros and stacks them in front."""
    missing = -x.shape[axis] % size
    x = jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
    x = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(x, axis, 0)


def map_blocks(function: Callable, blocks: Any) -> Any:
    """Returns the function's results of all blocks, stacked.

    If there are several blocks, each is computed again in the backward pass.
    """
    if jax.tree.leaves(blocks)[0].shape[0] == 1:
        return jax.tree.map(lambda x: x[None], function(jax.tree.map(lambda x: x[0], blocks)))
    return lax.map(jax.checkpoint(function, prevent_cse=False), blocks)


def check_devices(num_patients: int, num_devices: int) -> None:
    """Raises ValueError unless the devices divide the patients evenly."""
    if num_patients % num_devices:
        raise ValueError(
            f"{counted(num_patients, 'patient')} cannot be divided over "
            f"{counted(num_devices, 'device')}; choose a global batch size that the number of "
            "devices divides."
        )
