"""Kernel gradients that are computed in their place in the backward pass, for GPUs.

XLA:GPU schedules the gradients of all kernels after the gradients of all activations. All
activations and their gradients are then in memory at once, so that `--remat` frees almost nothing.
A barrier over both gradients of a layer makes the kernel's wait for nothing else, and the next
layer's wait for it.
"""

import jax
from jax import lax

from clef_jax.scoped import Block, Scoped

_requested = Scoped[bool]("in_place", False)


def use_kernel_gradients_in_place(is_requested: bool) -> Block:
    """Makes everything traced inside the block compute each kernel's gradient in its place.

    Without recomputed activations this saves little memory, and lets exchanges start late.
    """
    return _requested.use(is_requested)


def is_requested() -> bool:
    """Returns whether kernel gradients are computed in their place here.

    Read it in the forward pass, because the backward pass may be traced outside the block.
    """
    return _requested.get()


def together(to_x: jax.Array, to_kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both gradients of a layer, of which neither is used before both are computed."""
    return lax.optimization_barrier((to_x, to_kernel))
