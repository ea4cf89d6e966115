"""Computes a grouped convolution and its gradients as matrix products with Toeplitz kernels.

A window holds the samples that `block` outputs depend on, and one product per group maps windows to
outputs. The kernel is repeated with shifts, so some multiplications are by zero. Both gradients are
such products too, while XLA:CPU's native gradient of a grouped convolution is several times slower.

Shapes: B batch, T time (samples), C channels, G groups, R windows of a signal, W samples of a
window.
"""

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax.convolution.matmul import matmul


def same_padding(length: int, taps: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after a signal for ceil(length / stride) outputs."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + taps - length, 0)
    return total // 2, total - total // 2


def toeplitz_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, C_in] with [taps, C_in / G, C_out] to [B, ceil(T / stride), C_out].

    Supports reverse-mode differentiation only.
    """
    (batch, length, _), taps = x.shape, kernel.shape[0]
    left, _ = same_padding(length, taps, stride)
    outputs = -(-length // stride)
    num_windows, width = -(-outputs // block), (block - 1) * stride + taps
    rows = _windows(x, left, stride * block, num_windows, width, groups)
    y = matmul(rows, _matrix(kernel, width, stride, groups, block))
    y = y.reshape(groups, batch, num_windows, block, -1).transpose(1, 2, 3, 0, 4)
    return y.reshape(batch, num_windows * block, -1)[:, :outputs]


def _windows(
    x: jax.Array, left: int, step: int, num_windows: int, width: int, groups: int
) -> jax.Array:
    """Returns windows [G, B R, W C / G] of [B, T, C]; the first begins `left` samples early."""
    batch, length, channels = x.shape
    steps = num_windows - 1 + -(-width // step)
    right = max(0, steps * step - left - length)
    # Concatenates zeros, because XLA:CPU does not vectorise operations that it fuses with a pad.
    before, after = (jnp.zeros((batch, n, channels), x.dtype) for n in (left, right))
    x = jnp.concatenate([before, x, after], axis=1)[:, : steps * step]
    x = x.reshape(batch, steps, step, groups, channels // groups).transpose(3, 0, 1, 2, 4)
    # Keeps the axes separate, because the copy of flattened axes is not vectorised either.
    slices = [
        x[:, :, i // step : i // step + num_windows, : width - i] for i in range(0, width, step)
    ]
    return jnp.concatenate(slices, axis=3).reshape(groups, batch * num_windows, -1)


def _matrix(kernel: jax.Array, width: int, stride: int, groups: int, block: int) -> jax.Array:
    """Returns Toeplitz matrices [G, W C_in / G, block C_out / G], which map windows to outputs.

    Output n multiplies tap k by sample `k + stride * n` of its window.
    """
    taps, depth, channels = kernel.shape
    per_group = kernel.reshape(taps, depth, groups, channels // groups).transpose(2, 0, 1, 3)
    zero = jnp.zeros((), kernel.dtype)
    shifted = [
        lax.pad(per_group, zero, ((0, 0, 0), (i, width - taps - i, 0), (0, 0, 0), (0, 0, 0)))
        for i in range(0, block * stride, stride)
    ]
    return jnp.concatenate(shifted, axis=3).reshape(groups, width * depth, -1)
