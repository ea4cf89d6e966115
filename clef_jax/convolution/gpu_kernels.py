"""Kernels for GPUs that compute swish and a product together, without an array between them.

XLA:GPU fuses neither swish into the operand of a product nor its derivative behind one, so that
every product of the encoder has a pass over its activations before it and after it. These kernels,
written in Pallas for Triton, read each array once. They were compiled for GPUs and tested in
Pallas's interpreter, but never run on a GPU.

Shapes: N rows (time steps of all signals), B signals, K channels in, M channels out.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from clef_jax.errors import UserError

NAME = "clef_jax_product"
"""Beginning of the names of all kernels, by which a compiled program shows them."""
_ROWS = 128
"""Rows of a tile."""
_MOST_COLUMNS = 128
_MOST_DEPTH = 64
"""Largest width of a tile of the result, and of the part of a sum that is multiplied at a time."""
_MOST_ELEMENTS = 2**31 - 1
"""Most elements of an array, which a kernel indexes with 32 bits."""
_LEAST = 16
"""Smallest side of a tile that a matrix unit multiplies."""
_WARPS, _STAGES = 8, 3
_LEAST_STEPS = 4
"""Least number of parts of the rows that one program multiplies for a kernel's gradient."""
_PROGRAMS = 264
"""Number of programs among which the rows of a kernel's gradient are divided: two for each core of
an H100."""


def product(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, *, interpret: bool = False
) -> jax.Array:
    """Returns swish(x) @ kernel + bias, [N, M].

    Args:
        x: [N, K].
        kernel: float32 [K, M], rounded to the type of x.
        bias: float32 [M].
        interpret: whether Pallas interprets the kernel, for tests without a GPU.
    """
    (n, k), m = x.shape, kernel.shape[1]
    columns, depth = _width(m, _MOST_COLUMNS), _width(k, _MOST_DEPTH)

    def body(x_ref, kernel_ref, bias_ref, y_ref):
        rows, outputs = _part(0, _ROWS), _part(1, columns)

        def add(i, total):
            inputs = i * depth + jnp.arange(depth)
            active = _swish(_load(x_ref, rows, inputs)).astype(x.dtype)
            return total + _dot(active, _load(kernel_ref, inputs, outputs).astype(x.dtype))

        total = lax.fori_loop(0, -(-k // depth), add, jnp.zeros((_ROWS, columns), jnp.float32))
        total += _load_row(bias_ref, outputs)[None, :]
        _store(y_ref, rows, outputs, total)

    grid = (-(-n // _ROWS), -(-m // columns))
    call = _call("swish", body, grid, [((n, m), x.dtype)], (x, kernel, bias), interpret)
    return call(x, kernel, bias)[0]


def data_gradient(
    gradient: jax.Array,
    kernel: jax.Array,
    x: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradient by x of `product`, [N, K], and its sum over rows, float32 [K].

    Args:
        gradient: gradient of the product, [N, M].
        kernel: float32 [K, M], rounded to the type of x.
        x: [N, K].
        scale, shift: [B, M], by which the gradient of each signal's rows is multiplied, and what is
            then added; by default nothing is done. Each signal has N / B rows.
        interpret: as for `product`.
    """
    (n, m), k = gradient.shape, x.shape[1]
    columns, depth = _width(k, _MOST_COLUMNS), _width(m, _MOST_DEPTH)
    scales = () if scale is None or shift is None else (scale, shift)
    num_tiles = -(-n // _ROWS)

    def body(gradient_ref, kernel_ref, x_ref, *refs):
        (to_x_ref, sums_ref), scale_refs = refs[-2:], refs[:-2]
        rows, inputs = _part(0, _ROWS), _part(1, columns)

        def add(i, total):
            outputs = i * depth + jnp.arange(depth)
            part = _load_gradient(gradient_ref, scale_refs, rows, outputs)
            weights = _load(kernel_ref, inputs, outputs).astype(x.dtype)
            return total + _dot(part, weights.T)

        total = lax.fori_loop(0, -(-m // depth), add, jnp.zeros((_ROWS, columns), jnp.float32))
        value = _load(x_ref, rows, inputs).astype(jnp.float32)
        gate = jax.nn.sigmoid(value)
        to_x = (total * gate * (1 + value * (1 - gate))).astype(x.dtype)
        _store(to_x_ref, rows, inputs, to_x)
        # Rows behind the last one have no gradient, so they add nothing.
        sums = to_x.astype(jnp.float32).sum(axis=0)
        _store(sums_ref, jnp.full(1, pl.program_id(0)), inputs, sums[None, :])

    results = [((n, k), x.dtype), ((num_tiles, k), jnp.float32)]
    arguments = (gradient, kernel, x, *scales)
    call = _call(
        "data_gradient", body, (num_tiles, -(-k // columns)), results, arguments, interpret
    )
    to_x, sums = call(*arguments)
    return to_x, sums.sum(axis=0)


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients by kernel and bias of `product`, float32 [K, M] and [M].

    Arguments are as in `data_gradient`.
    """
    (n, k), m = x.shape, gradient.shape[1]
    inputs_width, outputs_width = _width(k, _MOST_COLUMNS), _width(m, _MOST_COLUMNS)
    tiles = (-(-k // inputs_width), -(-m // outputs_width))
    steps = -(-n // _MOST_DEPTH)
    splits = max(1, min(steps // _LEAST_STEPS, _PROGRAMS // math.prod(tiles)))
    steps_of_each = -(-steps // splits)
    splits = -(-steps // steps_of_each)
    scales = () if scale is None or shift is None else (scale, shift)

    def body(x_ref, gradient_ref, *refs):
        sums_ref, scale_refs = refs[-1], refs[:-1]
        split = pl.program_id(0)
        inputs, outputs = _part(1, inputs_width), _part(2, outputs_width)

        def add(i, totals):
            rows = (split * steps_of_each + i) * _MOST_DEPTH + jnp.arange(_MOST_DEPTH)
            active = _swish(_load(x_ref, rows, inputs)).astype(x.dtype)
            part = _load_gradient(gradient_ref, scale_refs, rows, outputs)
            sums = totals[1] + part.astype(jnp.float32).sum(axis=0)
            return totals[0] + _dot(active.T, part), sums

        zeros = jnp.zeros((inputs_width, outputs_width), jnp.float32)
        totals = (zeros, jnp.zeros(outputs_width, jnp.float32))
        to_kernel, to_bias = lax.fori_loop(0, steps_of_each, add, totals)
        # The last row of each part holds the bias's; every tile of inputs stores the same.
        first = split * (k + 1)
        _store(sums_ref, first + inputs, outputs, to_kernel, mask=(inputs < k)[:, None])
        _store(sums_ref, first + jnp.full(1, k), outputs, to_bias[None, :])

    results = [((splits * (k + 1), m), jnp.float32)]
    arguments = (x, gradient, *scales)
    call = _call("kernel_gradient", body, (splits, *tiles), results, arguments, interpret)
    sums = call(*arguments)[0].reshape(splits, k + 1, m).sum(axis=0)
    return sums[:k], sums[k]


def _call(
    name: str,
    body: Any,
    grid: tuple[int, ...],
    results: list[tuple[tuple[int, ...], Any]],
    arguments: tuple[jax.Array, ...],
    interpret: bool,
) -> Any:
    """Returns a function of the arguments that runs a kernel over a grid of programs.

    Raises:
        UserError: an array has too many elements for the kernels' indices.
    """
    largest = max(
        math.prod(shape) for shape in (*(s for s, _ in results), *(x.shape for x in arguments))
    )
    if largest > _MOST_ELEMENTS:
        raise UserError(
            f"--own-kernels: an array of the step has {largest:,} elements on each device, and the "
            f"kernels count up to {_MOST_ELEMENTS:,}. Use --num-microbatches=2 or a smaller batch.",
            problem="too_large_for_own_kernels",
        )
    # Under shard_map the results vary over the devices as the arguments do.
    axes = jax.typeof(arguments[0]).manual_axis_type
    return pl.pallas_call(
        body,
        grid=grid,
        out_shape=[jax.ShapeDtypeStruct(s, d, manual_axis_type=axes) for s, d in results],
        compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=_STAGES),
        interpret=interpret,
        name=f"{NAME}_{name}",
    )


def _width(channels: int, most: int) -> int:
    """Returns the width of a tile for some channels: a power of two."""
    return min(most, max(_LEAST, 1 << (channels - 1).bit_length()))


def _part(axis: int, size: int) -> jax.Array:
    """Returns the indices of this program's tile along an axis of the grid."""
    return pl.program_id(axis) * size + jnp.arange(size)


def _inside(ref: Any, rows: jax.Array, columns: jax.Array) -> jax.Array:
    return (rows < ref.shape[0])[:, None] & (columns < ref.shape[1])[None, :]


def _load(ref: Any, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Returns a tile of an array, 0 outside of it."""
    mask = _inside(ref, rows, columns)
    return plgpu.load(ref.at[rows[:, None], columns[None, :]], mask=mask, other=0)


def _load_row(ref: Any, columns: jax.Array) -> jax.Array:
    return plgpu.load(ref.at[columns], mask=columns < ref.shape[0], other=0).astype(jnp.float32)


def _store(ref: Any, rows: jax.Array, columns: jax.Array, value: jax.Array, mask: Any = True):
    """Stores the part of a tile that is inside an array."""
    mask = _inside(ref, rows, columns) & mask
    plgpu.store(ref.at[rows[:, None], columns[None, :]], value.astype(ref.dtype), mask=mask)


def _load_gradient(
    ref: Any, scale_refs: tuple[Any, ...], rows: jax.Array, columns: jax.Array
) -> jax.Array:
    """Returns a tile of a gradient, scaled and shifted by signal if there are scales."""
    part = _load(ref, rows, columns)
    if not scale_refs:
        return part
    scale_ref, shift_ref = scale_refs
    signals = rows // (ref.shape[0] // scale_ref.shape[0])
    scaled = part.astype(jnp.float32) * _load(scale_ref, signals, columns).astype(jnp.float32)
    return (scaled + _load(shift_ref, signals, columns).astype(jnp.float32)).astype(part.dtype)


def _swish(x: jax.Array) -> jax.Array:
    return jax.nn.silu(x.astype(jnp.float32))


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return plgpu.dot(a, b, precision=precision)
