"""Grouped convolution, and its gradients, as matrix products with Toeplitz kernels.

Time is cut into blocks of `block` outputs; each sees a window of consecutive blocks of
`stride * block` inputs, and one product per group maps windows to outputs. The kernel is repeated
with shifts, so some multiplications are by zero, but both gradients are such products again, where
XLA:CPU's native gradient of a grouped convolution is several times slower.

Shapes: B batch, T time (samples), C channels, G groups, R windows of a signal, W samples of a
window, N results of a window.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax.models.matmul import matmul


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How windows are laid over a signal."""

    first: int
    """Sample where the first window starts; zeros are read outside the signal."""
    step: int
    """Samples from one window to the next."""
    windows: int
    width: int
    """Samples in a window."""

    @property
    def reach(self) -> int:
        """Steps that a window touches."""
        return -(-self.width // self.step)


def same_padding(length: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a signal so that ceil(length / stride) outputs come out."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + taps - length, 0)
    return total // 2, total - total // 2


def toeplitz_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, C_in] with [taps, C_in / G, C_out] to [B, ceil(T / stride), C_out]."""
    (batch, length, _), taps = x.shape, kernel.shape[0]
    left, _ = same_padding(length, taps, stride)
    outputs = -(-length // stride)
    width = (block - 1) * stride + taps
    plan = _Plan(-left, stride * block, -(-outputs // block), width)
    y = matmul(_cut(x, plan, groups), _matrix(kernel, plan, stride, groups, block))
    return _join(y, batch, outputs, block)


def toeplitz_gradients(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, *, stride: int, groups: int, block: int
) -> tuple[jax.Array, jax.Array]:
    """The gradients of x and kernel from that of the convolution's output, [B, T', C_out].

    Differentiating `toeplitz_conv` adds up overlapping windows, and XLA:CPU does so number by
    number. Here windows are cut once, from the incoming gradient, and serve both products, and
    none are kept from the forward pass.
    """
    (batch, length, _), taps = x.shape, kernel.shape[0]
    left, _ = same_padding(length, taps, stride)
    step = stride * block
    first = -((taps - 1 - left) // stride)
    last = (step - 1 + left) // stride
    plan = _Plan(first, block, -(-length // step), last + 1 - first)
    windows = _cut(gradient, plan, groups)
    matrix, pull_back = jax.vjp(
        lambda kernel: _transposed_matrix(kernel, plan, left, stride, groups, block), kernel
    )
    to_x = matmul(windows, matrix)
    blocks = _cut(x, _Plan(0, step, plan.windows, step), groups)
    (to_kernel,) = pull_back(lax.dot_general(windows, blocks, (((1,), (1,)), ((0,), (0,)))))
    return _join(to_x, batch, length, step), to_kernel


def _cut(x: jax.Array, plan: _Plan, groups: int) -> jax.Array:
    """Windows [G, B * R, W * C / G] of [B, T, C]."""
    batch, length, channels = x.shape
    steps = plan.windows + plan.reach - 1
    after = plan.first + steps * plan.step - length
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (-plan.first, after, 0), (0, 0, 0)))
    x = x.reshape(batch, steps, plan.step, groups, channels // groups)
    x = x.transpose(3, 0, 1, 2, 4)
    parts = [
        x[:, :, i : i + plan.windows, : plan.width - i * plan.step] for i in range(plan.reach)
    ]
    return jnp.concatenate(parts, axis=3).reshape(groups, batch * plan.windows, -1)


def _join(y: jax.Array, batch: int, length: int, results: int) -> jax.Array:
    """The signal [B, T, C] of [G, B * R, N * C / G]."""
    groups, rows, columns = y.shape
    y = y.reshape(groups, batch, rows // batch, results, columns // results)
    y = y.transpose(1, 2, 3, 0, 4).reshape(batch, -1, groups * columns // results)
    return y[:, :length]


def _matrix(kernel: jax.Array, plan: _Plan, stride: int, groups: int, block: int) -> jax.Array:
    """Toeplitz matrices [G, W * C_in / G, N * C_out / G]: windows of x to N = block outputs.

    Output n sees tap k at sample `k + stride * n` of its window.
    """
    taps, depth, channels = kernel.shape
    per_group = kernel.reshape(taps, depth, groups, channels // groups).transpose(2, 0, 1, 3)
    shifted = [_place(per_group, stride * n, plan.width) for n in range(block)]
    return jnp.concatenate(shifted, axis=3).reshape(groups, plan.width * depth, -1)


def _transposed_matrix(
    kernel: jax.Array, plan: _Plan, left: int, stride: int, groups: int, block: int
) -> jax.Array:
    """Those [G, W * C_out / G, N * C_in / G] that map windows of the outputs' gradient to x's.

    Sample n of N = stride * block sees tap k in the gradient of output `(n + left - k) / stride`.
    """
    taps, depth, channels = kernel.shape
    results, width = stride * block, (plan.width - 1) * stride + 1
    starts = [n + left - stride * plan.first - taps + 1 for n in range(results)]
    per_group = kernel[::-1].reshape(taps, depth, groups, channels // groups)
    per_group = per_group.transpose(2, 0, 3, 1)
    shifted = [_place(per_group, i, width)[:, ::stride] for i in starts]
    return jnp.concatenate(shifted, axis=3).reshape(groups, -1, results * depth)


def _place(kernel: jax.Array, start: int, length: int) -> jax.Array:
    """Taps [G, taps, ...] from `start` on, zeros elsewhere, cut to [G, length, ...]."""
    padding = ((0, 0, 0), (start, length - start - kernel.shape[1], 0), (0, 0, 0), (0, 0, 0))
    return lax.pad(kernel, jnp.zeros((), kernel.dtype), padding)
