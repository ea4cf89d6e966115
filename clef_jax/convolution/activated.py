"""Products whose input is activated by swish, alone or with the gate behind them.

Each has two forms with the same result up to rounding: plain operations, and the kernels of
`gpu_kernels`, which read and write each array of activations once. On a CPU `kernel_twins` stand in
for the kernels.

Shapes: B signals, T time (samples), K channels in, M channels out.
"""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from clef_jax.convolution import in_place
from clef_jax.convolution.matmul import matmul, wide_matmul
from clef_jax.convolution.swish import swish
from clef_jax.scoped import Block, Scoped


class _Form(NamedTuple):
    kernels: types.ModuleType
    """`gpu_kernels` or `kernel_twins`."""
    is_in_place: bool
    """Whether kernel gradients are computed in their place; see `in_place`."""


_kernels = Scoped[types.ModuleType | None]("own_kernels", None)

_bias_in_product = Scoped[bool]("bias_in_product", False)

Gate = Callable[[Any, jax.Array], jax.Array]
"""Maps parameters and means over time, float32 [B, M], to factors, [B, M]."""


def use_own_kernels(is_requested: bool, platform: str = "gpu") -> Block:
    """Makes everything traced inside the block use the kernels of `gpu_kernels`.

    Args:
        is_requested: whether they are used; otherwise the plain operations are.
        platform: platform of the devices; on a CPU `kernel_twins` are used instead.
    """
    kernels = None
    if is_requested and platform == "cpu":
        from clef_jax.convolution import kernel_twins as kernels
    elif is_requested:
        from clef_jax.convolution import gpu_kernels as kernels  # Pallas takes long to import
    return _kernels.use(kernels)


def use_bias_in_product(is_requested: bool) -> Block:
    """Makes everything traced inside the block add biases to products before they are rounded.

    Triton's products do that without another pass over their results. Those of cuBLASLt would be
    written in float32.
    """
    return _bias_in_product.use(is_requested)


def uses_own_kernels() -> bool:
    """Returns whether the kernels of `gpu_kernels`, or their twins, are used here."""
    return _kernels.get() is not None


def product(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns swish(x) @ kernel + bias, [..., M] of the type of x.

    Args:
        x: [..., K].
        kernel: float32 [K, M].
        bias: float32 [M].
    """
    if uses_own_kernels():
        return _product(_form(), x, kernel, bias)
    return linear(swish(x), kernel, bias)


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns x @ kernel + bias, [..., M]; arguments are as in `product`."""
    shape = (1,) * (x.ndim - 1) + (-1,)
    if _bias_in_product.get():
        return (wide_matmul(x, kernel.astype(x.dtype)) + bias.reshape(shape)).astype(x.dtype)
    y = matmul(x, kernel.astype(x.dtype))
    return y + bias.astype(x.dtype).reshape(shape)


def gated_product(
    gate: Gate,
    gate_params: Any,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    x_bias: jax.Array,
) -> jax.Array:
    """Returns y * gate(gate_params, mean of y over time) with y = `product`, [B, T, M].

    Args:
        gate: function that computes the factors of each signal.
        gate_params: its parameters.
        x, kernel, bias: as for `product`.
        x_bias: float32 [K], which x contains as an addend without passing on a gradient to it; the
            gradient of x, summed here, is its gradient.
    """
    return _gated(_form(), gate, gate_params, x, kernel, bias, x_bias)


def _form() -> _Form:
    # Read in the forward pass, because the backward pass may be traced outside the blocks.
    kernels = _kernels.get()
    assert kernels is not None
    return _Form(kernels, in_place.is_requested())


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _forward(form: _Form, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    y = form.kernels.product(_rows(x), kernel, bias)
    return y.reshape(*x.shape[:-1], -1)


def _gradients(
    form: _Form,
    x: jax.Array,
    kernel: jax.Array,
    gradient: jax.Array,
    *scales: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns the gradients by x, kernel and bias, and the first one's sum over rows, [K]."""
    rows, x_rows = _rows(gradient), _rows(x)
    to_x, sums = form.kernels.data_gradient(rows, kernel, x_rows, *scales)
    to_kernel, to_bias = form.kernels.kernel_gradient(x_rows, rows, *scales)
    if form.is_in_place:
        to_x, to_kernel = in_place.together(to_x, to_kernel)
    return to_x.reshape(x.shape), to_kernel, to_bias, sums


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(form: _Form, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return _forward(form, x, kernel, bias)


def _product_forward(form: _Form, x: jax.Array, kernel: jax.Array, bias: jax.Array):
    return _forward(form, x, kernel, bias), (x, kernel)


def _product_backward(form: _Form, saved: Any, gradient: jax.Array):
    return _gradients(form, *saved, gradient)[:3]


_product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gated(form: _Form, gate: Gate, gate_params: Any, x, kernel, bias, x_bias) -> jax.Array:
    return _gated_forward(form, gate, gate_params, x, kernel, bias, x_bias)[0]


def _gated_forward(form: _Form, gate: Gate, gate_params: Any, x, kernel, bias, x_bias):
    del x_bias  # x contains it
    y = _forward(form, x, kernel, bias)
    mean = y.mean(axis=1, dtype=jnp.float32)
    factor, pull_back = jax.vjp(gate, gate_params, mean)
    factor = factor.astype(y.dtype)
    return y * factor[:, None, :], (x, kernel, y, factor, pull_back)


def _gated_backward(form: _Form, gate: Gate, saved: Any, gradient: jax.Array):
    x, kernel, y, factor, pull_back = saved
    to_factor = (gradient * y).sum(axis=1, dtype=jnp.float32)
    to_gate_params, to_mean = pull_back(to_factor)
    scales = (factor, (to_mean / y.shape[1]).astype(jnp.float32))
    to_x, to_kernel, to_bias, sums = _gradients(form, x, kernel, gradient, *scales)
    return to_gate_params, to_x, to_kernel, to_bias, sums


_gated.defvjp(_gated_forward, _gated_backward)
