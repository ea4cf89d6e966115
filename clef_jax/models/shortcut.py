"""The path around a residual block, which has no parameters.

Shapes: B batch, T time (samples), C channels.
"""

import jax
import jax.numpy as jnp

from clef_jax import machine


def shortcut(x: jax.Array, stride: int, channels: int) -> jax.Array:
    """Maps [B, T, C_in] to [B, ceil(T / stride), C], for a stride of 1 or 2.

    The reference pads its max-pool with one zero on the right, so that the last value of an odd
    length is max(x, 0), and pads channels with the smaller half on the left.
    """
    if stride == 2:
        x = _larger_of_pairs(x)
    missing = channels - x.shape[-1]
    if missing:
        x = jnp.pad(x, ((0, 0), (0, 0), (missing // 2, missing - missing // 2)))
    return x


def _larger_of_pairs(x: jax.Array) -> jax.Array:
    """The larger of two neighbours in time; [B, T, C] to [B, ceil(T / 2), C]."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0)))
    if machine.current_platform() == "tpu":
        # The pairs' gradient would be copied twice there: 2.8 million cycles of two stages' 10.7.
        first, second = x[:, 0::2], x[:, 1::2]
    else:
        # On a CPU the slices' gradient takes a third longer.
        pairs = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2])
        first, second = pairs[:, :, 0], pairs[:, :, 1]
    # Not `maximum`: on a tie the reference sends the whole gradient to the first sample.
    return jnp.where((second > first) | jnp.isnan(second), second, first)
