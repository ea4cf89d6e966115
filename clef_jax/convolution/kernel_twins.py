"""Plain operations with the arguments and results of the kernels in `gpu_kernels`.

They state what the kernels compute, and stand in for them where a CPU computes the form of a GPU's
step.

Shapes: N rows, B signals, K channels in, M channels out.
"""

import jax
import jax.numpy as jnp

from clef_jax.convolution.swish import swish


def product(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns swish(x) @ kernel + bias, [N, M]; see `gpu_kernels.product`."""
    wide = swish(x) @ kernel.astype(x.dtype)
    return wide + bias.astype(x.dtype)[None, :]


def data_gradient(
    gradient: jax.Array,
    kernel: jax.Array,
    x: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradient by x, [N, K], and its sum, [K]; see `gpu_kernels.data_gradient`."""
    to_active = _scaled(gradient, scale, shift) @ kernel.astype(x.dtype).T
    (to_x,) = jax.vjp(swish, x)[1](to_active)
    return to_x, to_x.sum(axis=0, dtype=jnp.float32)


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients by kernel and bias, [K, M] and [M]; see
    `gpu_kernels.kernel_gradient`."""
    whole = _scaled(gradient, scale, shift)
    to_kernel = jnp.matmul(swish(x).T, whole, preferred_element_type=jnp.float32)
    return to_kernel, whole.sum(axis=0, dtype=jnp.float32)


def _scaled(gradient: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
    if scale is None or shift is None:
        return gradient
    rows = gradient.reshape(len(scale), -1, gradient.shape[-1])
    scaled = rows.astype(jnp.float32) * scale.astype(jnp.float32)[:, None, :]
    scaled += shift.astype(jnp.float32)[:, None, :]
    return scaled.astype(gradient.dtype).reshape(gradient.shape)
