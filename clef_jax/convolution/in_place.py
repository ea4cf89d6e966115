"""Kernel gradients that are computed in their place in the backward pass, for GPUs.

XLA:GPU schedules the gradients of all kernels after the gradients of all activations. All
activations and their gradients are then in memory at once, so that `--remat` frees almost nothing.
A barrier over both gradients of a layer makes the kernel's wait for nothing else, and the next
layer's wait for it.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
from jax import lax

_requested: contextvars.ContextVar[bool] = contextvars.ContextVar("in_place", default=False)


@contextlib.contextmanager
def use_kernel_gradients_in_place(is_requested: bool) -> Iterator[None]:
    """Makes everything traced inside the block compute each kernel's gradient in its place.

    Without recomputed activations this saves little memory, and lets exchanges start late.
    """
    token = _requested.set(is_requested)
    try:
        yield
    finally:
        _requested.reset(token)


def is_requested() -> bool:
    """Returns whether kernel gradients are computed in their place here.

    Read it in the forward pass, because the backward pass may be traced outside the block.
    """
    return _requested.get()


def together(to_x: jax.Array, to_kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both gradients of a layer, of which neither is used before both are computed."""
    return lax.optimization_barrier((to_x, to_kernel))
