"""Grouped convolution as matrix products with Toeplitz kernels.

Time is cut into blocks of `block` outputs; each sees a window of consecutive blocks of
`stride * block` inputs, and one product per group maps windows to outputs. The kernel is repeated
with shifts, so some multiplications are by zero, but differentiation gives matrix products again,
where XLA:CPU's native gradient of a grouped convolution is several times slower.

Shapes: B batch, T time (samples), C channels, G groups, R windows of a signal, M blocks of inputs
in a window.
"""

import dataclasses

import jax
import jax.numpy as jnp

from clef_jax.models.matmul import matmul


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a signal of a given length is cut."""

    left: int
    """Zeros before the signal."""
    outputs: int
    windows: int
    """Blocks of outputs."""
    span: int
    """Samples in a block of inputs."""
    reach: int
    """Blocks of inputs in a window."""


def _plan(length: int, taps: int, stride: int, block: int) -> _Plan:
    left, _ = same_padding(length, taps, stride)
    outputs, span = -(-length // stride), stride * block
    reach = -(-((block - 1) * stride + taps) // span)
    return _Plan(left, outputs, -(-outputs // block), span, reach)


def same_padding(length: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a signal so that ceil(length / stride) outputs come out."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + taps - length, 0)
    return total // 2, total - total // 2


def toeplitz_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, C_in] with [taps, C_in / G, C_out] to [B, ceil(T / stride), C_out]."""
    batch, length, channels = x.shape
    plan = _plan(length, kernel.shape[0], stride, block)
    width = kernel.shape[2] // groups
    right = (plan.windows + plan.reach - 1) * plan.span - plan.left - length
    x = jnp.pad(x, ((0, 0), (plan.left, right), (0, 0)))
    x = x.reshape(batch, -1, plan.span, groups, channels // groups)
    x = jnp.concatenate([x[:, i : i + plan.windows] for i in range(plan.reach)], axis=2)
    x = x.transpose(3, 0, 1, 2, 4).reshape(groups, batch * plan.windows, -1)
    y = matmul(x, _expand(kernel, plan, stride, groups, block))  # [G, B * R, block * C / G]
    y = y.reshape(groups, batch, plan.windows, block, width).transpose(1, 2, 3, 0, 4)
    return y.reshape(batch, plan.windows * block, groups * width)[:, : plan.outputs]


def _expand(kernel: jax.Array, plan: _Plan, stride: int, groups: int, block: int) -> jax.Array:
    """The Toeplitz matrices [G, M * span * C_in / G, block * C_out / G] of a kernel.

    Output t of a block sees the taps `stride * t` rows further down. Repeating the taps with a
    period `stride` longer than a window shifts them so without a gather, whose gradient would be a
    scatter.
    """
    taps, depth, channels = kernel.shape
    window = plan.reach * plan.span
    period = window + stride
    padded = jnp.pad(kernel.reshape(taps, -1), ((0, period - taps), (0, 0)))
    tiled = jnp.broadcast_to(padded[None], (block, *padded.shape)).reshape(block * period, -1)
    shifted = tiled[: block * window].reshape(block, window, depth, groups, channels // groups)
    return shifted.transpose(3, 1, 2, 0, 4).reshape(groups, window * depth, -1)
