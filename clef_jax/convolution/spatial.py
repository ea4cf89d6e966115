"""Grouped convolution whose groups form a second spatial axis, for TPUs.

XLA:TPU itself converts a grouped convolution to one over [time, groups], with gaps between the
groups so wide that no window covers two of them. Written explicitly, this allows three things that
XLA does not do: bias and activation are fused with it (`in_groups`), the data gradient is the same
kind of convolution with a kernel of its own, and both kernels have a layout with the outputs
innermost. With the inputs innermost the compiler expects three times as many cycles, and it uses
one layout for both kernels if one is a view of the other.

Shapes: B batch, T time (samples), G groups, I and O channels per group.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

from clef_jax.convolution.toeplitz import same_padding


def spatial_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, G I] with kernel [taps, I, G O] to [B, ceil(T / stride), G O], SAME padding.

    `block` is ignored. Supports reverse-mode differentiation only.
    """
    return _convolve(x, kernel, stride, groups)


def in_groups(
    function: Callable[..., jax.Array], x: jax.Array, *channels: jax.Array, groups: int
) -> jax.Array:
    """Applies an elementwise function to [B, T, C] and to values [C] per channel.

    It is computed in the shape in which the compiler stores inputs and outputs of `spatial_conv`.
    """
    grouped = x.reshape(*x.shape[:2], groups, -1)
    per_group = (values.reshape(1, 1, groups, -1) for values in channels)
    return function(grouped, *per_group).reshape(x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, stride: int, groups: int) -> jax.Array:
    padding = same_padding(x.shape[1], kernel.shape[0], stride)
    return _over_space(x, _grouped(kernel, groups), padding, stride=stride)


def _save(x: jax.Array, kernel: jax.Array, stride: int, groups: int):
    return _convolve(x, kernel, stride, groups), (x, kernel)


def _backward(stride: int, groups: int, saved, gradient: jax.Array):
    x, kernel = saved
    padding = same_padding(x.shape[1], kernel.shape[0], stride)

    def convolve_with(kernel: jax.Array) -> jax.Array:
        return _over_space(x, _grouped(kernel, groups), padding, stride=stride)

    (to_kernel,) = jax.linear_transpose(convolve_with, kernel)(gradient)
    return _data_gradient(gradient, kernel, x.shape[1], stride, groups), to_kernel


_convolve.defvjp(_save, _backward)


def _data_gradient(
    gradient: jax.Array, kernel: jax.Array, length: int, stride: int, groups: int
) -> jax.Array:
    """Returns the gradient [B, T, G I] of the input, a convolution with the reversed kernel.

    `length` is the number of samples T.
    """
    taps = kernel.shape[0]
    left, _ = same_padding(length, taps, stride)
    spread = (gradient.shape[1] - 1) * stride + 1
    padding = (taps - 1 - left, length + left - spread)
    per_group = _grouped(kernel, groups)
    # An exact product with the identity, because a transposed view would share the layout.
    identity = jnp.eye(per_group.shape[-1], dtype=kernel.dtype)
    swapped = jnp.einsum("kgio,op->kgpi", per_group, identity, precision=lax.Precision.HIGHEST)
    return _over_space(gradient, swapped, padding, dilation=stride, is_reversed=True)


def _grouped(kernel: jax.Array, groups: int) -> jax.Array:
    """Reshapes [taps, I, G O] to [taps, G, I, O]."""
    taps, depth, channels = kernel.shape
    return kernel.reshape(taps, depth, groups, channels // groups).transpose(0, 2, 1, 3)


def _over_space(
    x: jax.Array,
    kernel: jax.Array,
    padding: tuple[int, int],
    *,
    stride: int = 1,
    dilation: int = 1,
    is_reversed: bool = False,
) -> jax.Array:
    """Convolves [B, T, G I] with [taps, G, I, O] to [B, T', G O].

    `dilation` inserts gaps into the input, and `is_reversed` reverses the taps. Along the second
    axis, group g is at index g G, and window w covers w (G - 1) to w (G - 1) + G - 1, which contain
    only group w, at index w of the window.
    """
    batch, length = x.shape[:2]
    groups = kernel.shape[1]
    kernel = with_layout_constraint(kernel, Layout((0, 1, 2, 3)))
    if is_reversed:
        kernel = kernel[::-1]  # last, so that it is fused with the convolution
    y = lax.conv_general_dilated(
        x.reshape(batch, length, groups, -1),
        kernel,
        (stride, max(groups - 1, 1)),
        (padding, (0, 0)),
        lhs_dilation=(dilation, groups),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(batch, y.shape[1], -1)
