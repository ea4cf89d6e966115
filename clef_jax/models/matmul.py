"""Matrix product with a backward pass, in the layouts that XLA multiplies fastest."""

import jax
from jax import lax

from clef_jax import platforms
from clef_jax.models.lanes import in_lanes


@jax.custom_vjp
def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies [..., N, K] by [K, M], or [G, N, K] by [G, K, M] group by group.

    JAX's own rule for the kernel's gradient asks for [M, K] and transposes it; XLA:CPU turns that
    into a transposed copy of the whole incoming gradient, the most expensive pass of a step.
    Reverse-mode differentiation only.
    """
    y = lax.dot_general(_placed(x, kernel), kernel, _dimensions(x, kernel))
    return _placed(y, kernel)


def _placed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return in_lanes(x) if kernel.ndim == 2 else x


def _dimensions(x: jax.Array, kernel: jax.Array):
    batch = tuple(range(kernel.ndim - 2))
    return ((x.ndim - 1,), (kernel.ndim - 2,)), (batch, batch)


def _forward(x: jax.Array, kernel: jax.Array):
    return matmul(x, kernel), (x, kernel)


def _backward(saved, gradient: jax.Array):
    x, kernel = saved
    x, gradient = _placed(x, kernel), _placed(gradient, kernel)
    batch = tuple(range(kernel.ndim - 2))
    to_x = lax.dot_general(
        gradient, kernel, (((gradient.ndim - 1,), (kernel.ndim - 1,)), (batch, batch))
    )
    return _placed(to_x, kernel), _kernel_gradient(x, gradient, len(batch))


def _kernel_gradient(x: jax.Array, gradient: jax.Array, num_batch: int) -> jax.Array:
    if platforms.current() == "cpu":
        # XLA:CPU turns a product over two axes of rows into a transposed copy of x. On a TPU it is
        # the other way round: signals that lie innermost would be copied to make one axis of two.
        x, gradient = (a.reshape(*a.shape[:num_batch], -1, a.shape[-1]) for a in (x, gradient))
    batch, rows = tuple(range(num_batch)), tuple(range(num_batch, x.ndim - 1))
    return lax.dot_general(x, gradient, ((rows, rows), (batch, batch)))


matmul.defvjp(_forward, _backward)
