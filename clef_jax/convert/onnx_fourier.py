"""Adds Fourier transforms to ONNX graphs, as products with small constant matrices.

A transform of N = a b samples has two steps with twiddle factors between them (Cooley and Tukey,
1965). Every runtime has matrix products; these sum at most a few hundred numbers at a time, which
keeps float32 exact, and their constants are small. On one core onnxruntime's own DFT operator takes
11 ms for a filter of 10,000 samples, with an error of 3e-4 of the largest value; these products
take some tenths of a millisecond, with an error below 1e-6.

Shapes: B batch, T time (samples); N = a b samples of a transform, j = a/2 + 1 of its rows.
"""

import numpy as np

from clef_jax.convert.onnx_graph import Builder
from clef_jax.errors import UserError, counted
from clef_jax.signal import fourier

LARGEST_FACTOR = 4096
"""Largest allowed factor of a window's number of samples. A prime factor p, which fractional rates
may have (2,564 = 4 x 641 samples at 256.41 Hz), needs 8 p^2 bytes of constants."""


def factors(num_samples: int) -> tuple[int, int]:
    """Returns a and b with a b = num_samples and the smallest matrices.

    Raises:
        UserError: one of the factors is above `LARGEST_FACTOR`.
    """
    a, b = fourier.factors(num_samples)
    if max(a, b) > LARGEST_FACTOR:
        raise UserError(
            f"A window of {counted(num_samples, 'sample')} cannot be transformed by matrices, "
            f"because its factor {max(a, b)} is above {LARGEST_FACTOR}. Choose a window length or "
            "sampling rate whose number of samples has smaller prime factors.",
            problem="large_prime_factor",
        )
    return a, b


def add_filter(builder: Builder, x: str, num_samples: int, response: np.ndarray, n: int) -> str:
    """Adds a filter: multiplies the spectrum of `x` [B, T] by a response; returns [B, T].

    Args:
        num_samples: T.
        response: real frequency response, [n // 2 + 1].
        n: number of samples that `x` is padded to with zeros.
    """
    a, b = factors(n)
    parts = fourier.filter_parts(num_samples, n)
    half, rows = a // 2 + 1, parts.to_rows.shape[1]
    x = _padded(builder, x, num_samples, rows * b)
    x = builder.op("Reshape", x, builder.integers(-1, rows, b))
    x = builder.op("MatMul", builder.constant(_float(parts.to_rows)), x)
    x = _twiddle(builder, x, half, parts.twiddle, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.to_columns)))
    index = np.arange(half)[:, None] + a * np.arange(b)
    gain = response[np.minimum(index, n - index)] * parts.weight[:, None]
    x = builder.op("Mul", x, builder.constant(_float(np.concatenate([gain, gain], axis=1))))
    x = builder.op("MatMul", x, builder.constant(_float(parts.from_columns)))
    real, imag = builder.split("Split", x, names=(None, None), axis=2)
    x = _multiply(builder, real, imag, parts.twiddle.conj(), axis=1)
    x = builder.op("MatMul", builder.constant(_float(parts.from_rows)), x)
    x = builder.op("Reshape", x, builder.integers(-1, rows * b))
    return cut(builder, x, rows * b, num_samples)


def add_resampling(builder: Builder, x: str, before: int, after: int) -> str:
    """Adds a resampling of `x` [B, before] to [B, after], as in `device.resample_to_count`."""
    (a, b), (c, d) = factors(before), factors(after)
    parts = fourier.resampling_parts(before, after)
    num_bins, used = parts.to_columns.shape[1] // 2 * a, len(parts.weight)
    x = builder.op("Reshape", x, builder.integers(-1, a, b))
    x = builder.op("MatMul", builder.constant(_float(parts.to_rows)), x)
    x = _twiddle(builder, x, a, parts.twiddle, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.to_columns)))
    x = builder.op("Reshape", x, builder.integers(-1, a, 2, num_bins // a))
    x = builder.op("Transpose", x, perm=[0, 2, 3, 1])
    bins = builder.op("Reshape", x, builder.integers(-1, 2, num_bins))
    if num_bins < used:
        bins = builder.op("Pad", bins, builder.integers(0, 0, 0, 0, 0, used - num_bins))
    if num_bins > used:
        bins = _slice(builder, bins, used, axis=2)
    bins = builder.op("Mul", bins, builder.constant(_float(parts.weight)))
    x = builder.op("Reshape", bins, builder.integers(-1, 2 * used // d, d))
    x = builder.op("MatMul", builder.constant(_float(parts.from_rows)), x)
    x = _twiddle(builder, x, c, parts.inverse_twiddle, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.from_columns)))
    x = builder.op("Transpose", x, perm=[0, 2, 1])
    return builder.op("Reshape", x, builder.integers(-1, after))


def _twiddle(builder: Builder, x: str, rows: int, factor: fourier.Complex, *, axis: int) -> str:
    """Adds the product of [B, 2 rows, b], real parts above imaginary ones, with [rows, b]."""
    widths = builder.integers(rows, rows)
    real, imag = builder.split("Split", x, widths, names=(None, None), axis=1)
    return _multiply(builder, real, imag, factor, axis=axis)


def _multiply(builder: Builder, real: str, imag: str, factor: fourier.Complex, *, axis: int) -> str:
    """Adds (real + i imag) factor, with its real and imaginary parts joined along an axis."""
    cosine, sine = builder.constant(_float(factor.real)), builder.constant(_float(factor.imag))
    new_real = builder.op("Sub", builder.op("Mul", real, cosine), builder.op("Mul", imag, sine))
    new_imag = builder.op("Add", builder.op("Mul", real, sine), builder.op("Mul", imag, cosine))
    return builder.op("Concat", new_real, new_imag, axis=axis)


def _padded(builder: Builder, x: str, length: int, wanted: int) -> str:
    if wanted == length:
        return x
    return builder.op("Pad", x, builder.integers(0, 0, 0, wanted - length))


def cut(builder: Builder, x: str, length: int, wanted: int) -> str:
    """Adds a node that keeps the first `wanted` of the `length` samples of `x` [B, T]."""
    return x if wanted == length else _slice(builder, x, wanted, axis=1)


def _slice(builder: Builder, x: str, stop: int, *, axis: int) -> str:
    zero, end, along = builder.integers(0), builder.integers(stop), builder.integers(axis)
    return builder.op("Slice", x, zero, end, along)


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
