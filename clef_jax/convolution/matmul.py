"""Matrix product whose backward pass uses the layouts that XLA multiplies fastest."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax import machine
from clef_jax.convolution import in_place
from clef_jax.convolution.lanes import in_lanes


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies [..., N, K] by [K, M], or [G, N, K] by [G, K, M] group by group.

    JAX's own rule computes the kernel's gradient as [M, K] and transposes it. XLA:CPU implements
    that with a transposed copy of the whole incoming gradient, the most expensive part of a step.
    Supports reverse-mode differentiation only.
    """
    # Read both here, because the backward pass may be traced outside `use_platform`.
    return _matmul(machine.current_platform(), in_place.is_requested(), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _matmul(platform: str, is_in_place: bool, x: jax.Array, kernel: jax.Array) -> jax.Array:
    y = lax.dot_general(_with_layout(platform, x, kernel), kernel, _dimensions(x, kernel))
    return _with_layout(platform, y, kernel)


def _with_layout(platform: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Sets the layout of `in_lanes`, except for products by groups."""
    return in_lanes(x, platform) if kernel.ndim == 2 else x


def _dimensions(x: jax.Array, kernel: jax.Array):
    batch = tuple(range(kernel.ndim - 2))
    return ((x.ndim - 1,), (kernel.ndim - 2,)), (batch, batch)


def _forward(platform: str, is_in_place: bool, x: jax.Array, kernel: jax.Array):
    return _matmul(platform, is_in_place, x, kernel), (x, kernel)


def _backward(platform: str, is_in_place: bool, saved, gradient: jax.Array):
    x, kernel = saved
    x, gradient = _with_layout(platform, x, kernel), _with_layout(platform, gradient, kernel)
    batch = tuple(range(kernel.ndim - 2))
    to_x = lax.dot_general(
        gradient, kernel, (((gradient.ndim - 1,), (kernel.ndim - 1,)), (batch, batch))
    )
    to_kernel = _kernel_gradient(platform, x, gradient, len(batch))
    if is_in_place:
        to_x, to_kernel = in_place.together(to_x, to_kernel)
    return _with_layout(platform, to_x, kernel), to_kernel


def _kernel_gradient(platform: str, x: jax.Array, gradient: jax.Array, num_batch: int) -> jax.Array:
    if platform == "cpu":
        # XLA:CPU copies and transposes x for a product over two axes of rows, so they are merged.
        # On a TPU merging them would copy x, whose batch is the innermost axis.
        x, gradient = (a.reshape(*a.shape[:num_batch], -1, a.shape[-1]) for a in (x, gradient))
    batch, rows = tuple(range(num_batch)), tuple(range(num_batch, x.ndim - 1))
    return lax.dot_general(x, gradient, ((rows, rows), (batch, batch)))


_matmul.defvjp(_forward, _backward)


def wide_matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies [..., N, K] by [K, M] to float32 or wider; its gradient is rounded to x's type."""
    return _wide(machine.current_platform(), in_place.is_requested(), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _wide(platform: str, is_in_place: bool, x: jax.Array, kernel: jax.Array) -> jax.Array:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return lax.dot_general(x, kernel, _dimensions(x, kernel), preferred_element_type=wide)


def _wide_forward(platform: str, is_in_place: bool, x: jax.Array, kernel: jax.Array):
    return _wide(platform, is_in_place, x, kernel), (x, kernel)


def _wide_backward(platform: str, is_in_place: bool, saved, gradient: jax.Array):
    return _backward(platform, is_in_place, saved, gradient.astype(saved[0].dtype))


_wide.defvjp(_wide_forward, _wide_backward)
