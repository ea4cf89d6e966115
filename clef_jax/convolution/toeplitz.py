"""Grouped convolution, and its gradients, as matrix products with Toeplitz kernels.

Time is cut into windows of the samples that `block` outputs depend on, and one product per group
maps windows to outputs. The kernel is repeated with shifts, so some multiplications are by zero,
but both gradients are such products again, where XLA:CPU's native gradient of a grouped convolution
is several times slower.

Shapes: B batch, T time (samples), C channels, G groups, R windows of a signal, W samples of a
window.
"""

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax.convolution.matmul import matmul


def same_padding(length: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a signal so that ceil(length / stride) outputs come out."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + taps - length, 0)
    return total // 2, total - total // 2


def toeplitz_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, C_in] with [taps, C_in / G, C_out] to [B, ceil(T / stride), C_out].

    Reverse-mode differentiation only.
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
    """Windows [G, B R, W C / G] of [B, T, C], the first `left` samples before the signal."""
    batch, length, channels = x.shape
    steps = num_windows - 1 + -(-width // step)
    right = max(0, steps * step - left - length)
    # By joining arrays: XLA:CPU computes what it fuses with a pad number by number.
    before, after = (jnp.zeros((batch, n, channels), x.dtype) for n in (left, right))
    x = jnp.concatenate([before, x, after], axis=1)[:, : steps * step]
    x = x.reshape(batch, steps, step, groups, channels // groups).transpose(3, 0, 1, 2, 4)
    # From the axes as they are: of flattened ones it would copy number by number, too.
    parts = [
        x[:, :, i // step : i // step + num_windows, : width - i] for i in range(0, width, step)
    ]
    return jnp.concatenate(parts, axis=3).reshape(groups, batch * num_windows, -1)


def _matrix(kernel: jax.Array, width: int, stride: int, groups: int, block: int) -> jax.Array:
    """Toeplitz matrices [G, W C_in / G, block C_out / G], from windows of x to outputs.

    Output n sees tap k at sample `k + stride * n` of its window.
    """
    taps, depth, channels = kernel.shape
    per_group = kernel.reshape(taps, depth, groups, channels // groups).transpose(2, 0, 1, 3)
    zero = jnp.zeros((), kernel.dtype)
    shifted = [
        lax.pad(per_group, zero, ((0, 0, 0), (i, width - taps - i, 0), (0, 0, 0), (0, 0, 0)))
        for i in range(0, block * stride, stride)
    ]
    return jnp.concatenate(shifted, axis=3).reshape(groups, width * depth, -1)
