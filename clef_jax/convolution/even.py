"""Grouped convolution with equal padding on both sides and a stride of 1, for GPUs.

cuDNN pads both sides alike, and XLA's SAME padding does not where the number of taps is even: XLA
then copies the padded signal before each of the three convolutions of a layer. A tap of zeros makes
the sides alike. With a stride of 2, the gradient of the input is computed from a signal with zeros
between its samples; pairs of samples as channels need no stride.

Shapes: B batch, T time (samples), G groups, I and O channels per group, P pairs of samples.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax.convolution import in_place
from clef_jax.convolution.toeplitz import same_padding


def even_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
) -> jax.Array:
    """Convolves [B, T, G I] with kernel [taps, I, G O] to [B, ceil(T / stride), G O], SAME padding.

    `block` is ignored. Strides above 2 have XLA's own form. Supports reverse-mode differentiation
    only where kernel gradients are computed in their place.
    """
    if in_place.is_requested():
        return _in_place(x, kernel, stride, groups)
    return _even(x, kernel, stride, groups)


def _even(x: jax.Array, kernel: jax.Array, stride: int, groups: int) -> jax.Array:
    taps = kernel.shape[0]
    left, right = same_padding(x.shape[1], taps, stride)
    if stride == 2:
        return _convolve(_pairs(x, groups), *_pair_taps(kernel, left), groups)
    if stride == 1 and right == left + 1:
        return _convolve(x, _with_zero_taps(kernel, 1, 0), (right, right), groups)
    return _convolve(x, kernel, (left, right), groups, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _in_place(x: jax.Array, kernel: jax.Array, stride: int, groups: int) -> jax.Array:
    return _even(x, kernel, stride, groups)


def _save(x: jax.Array, kernel: jax.Array, stride: int, groups: int):
    return _even(x, kernel, stride, groups), (x, kernel)


def _backward(stride: int, groups: int, saved, gradient: jax.Array):
    _, pull_back = jax.vjp(lambda x, kernel: _even(x, kernel, stride, groups), *saved)
    return in_place.together(*pull_back(gradient))


_in_place.defvjp(_save, _backward)


def _pairs(x: jax.Array, groups: int) -> jax.Array:
    """Maps [B, T, G I] to [B, P, G 2 I], with a sample of zeros after an odd length."""
    batch, length, channels = x.shape
    if length % 2:
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 0)))
    pairs = x.reshape(batch, -1, 2, groups, channels // groups)
    return pairs.swapaxes(2, 3).reshape(batch, -1, 2 * channels)


def _pair_taps(kernel: jax.Array, left: int) -> tuple[jax.Array, tuple[int, int]]:
    """Returns the kernel [pair taps, 2 I, G O] for pairs, and its padding in pairs.

    Output t covers samples from 2 t - `left` on. Taps of zeros in front and behind let it start and
    end with whole pairs.
    """
    front = left % 2
    behind = (front + kernel.shape[0]) % 2
    kernel = _with_zero_taps(kernel, front, behind)
    taps, depth, channels = kernel.shape
    pairs_before = (left + front) // 2
    padding = (pairs_before, taps // 2 - 1 - pairs_before)
    return kernel.reshape(taps // 2, 2 * depth, channels), padding


def _with_zero_taps(kernel: jax.Array, front: int, behind: int) -> jax.Array:
    return jnp.pad(kernel, ((front, behind), (0, 0), (0, 0)))


def _convolve(
    x: jax.Array, kernel: jax.Array, padding: tuple[int, int], groups: int, stride: int = 1
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        [padding],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )
