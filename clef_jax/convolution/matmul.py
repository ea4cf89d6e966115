"""Matrix product with a backward pass, in the layouts that XLA multiplies fastest."""

import functools

import jax
from jax import lax

from clef_jax import machine
from clef_jax.convolution.lanes import in_lanes


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies [..., N, K] by [K, M], or [G, N, K] by [G, K, M] group by group.

    JAX's own rule for the kernel's gradient asks for [M, K] and transposes it; XLA:CPU turns that
    into a transposed copy of the whole incoming gradient, the most expensive pass of a step.
    Reverse-mode differentiation only.
    """
    # Asked here, because the backward pass may be traced outside `use_platform`.
    return _matmul(machine.current_platform(), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _matmul(platform: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    y = lax.dot_general(_placed(platform, x, kernel), kernel, _dimensions(x, kernel))
    return _placed(platform, y, kernel)


def _placed(platform: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return in_lanes(x, platform) if kernel.ndim == 2 else x


def _dimensions(x: jax.Array, kernel: jax.Array):
    batch = tuple(range(kernel.ndim - 2))
    return ((x.ndim - 1,), (kernel.ndim - 2,)), (batch, batch)


def _forward(platform: str, x: jax.Array, kernel: jax.Array):
    return _matmul(platform, x, kernel), (x, kernel)


def _backward(platform: str, saved, gradient: jax.Array):
    x, kernel = saved
    x, gradient = _placed(platform, x, kernel), _placed(platform, gradient, kernel)
    batch = tuple(range(kernel.ndim - 2))
    to_x = lax.dot_general(
        gradient, kernel, (((gradient.ndim - 1,), (kernel.ndim - 1,)), (batch, batch))
    )
    to_kernel = _kernel_gradient(platform, x, gradient, len(batch))
    return _placed(platform, to_x, kernel), to_kernel


def _kernel_gradient(platform: str, x: jax.Array, gradient: jax.Array, num_batch: int) -> jax.Array:
    if platform == "cpu":
        # XLA:CPU turns a product over two axes of rows into a transposed copy of x. On a TPU it is
        # the other way round: signals that lie innermost would be copied to make one axis of two.
        x, gradient = (a.reshape(*a.shape[:num_batch], -1, a.shape[-1]) for a in (x, gradient))
    batch, rows = tuple(range(num_batch)), tuple(range(num_batch, x.ndim - 1))
    return lax.dot_general(x, gradient, ((rows, rows), (batch, batch)))


_matmul.defvjp(_forward, _backward)
