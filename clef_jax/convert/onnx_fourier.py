"""Fourier transforms of ONNX graphs, as products with small constant matrices.

A transform of N = a b samples is taken in two steps with a factor between them (Cooley and Tukey,
1965): every runtime has matrix products, they sum at most a few hundred numbers at a time, which
float32 takes well, and the constants are small. On one core onnxruntime's own DFT operator takes
11 ms for a filter of 10,000 samples and errs by 3e-4 of the largest value; these products take
some tenths of a millisecond and err by less than 1e-6.

Shapes: B batch, T time (samples); N = a b samples of a transform, j = a/2 + 1 of its rows.
"""

import numpy as np

from clef_jax.convert.onnx_graph import Builder
from clef_jax.errors import UserError
from clef_jax.signal import fourier

LARGEST_FACTOR = 4096
"""Largest factor of a window's number of samples. A prime factor p of a fractional rate (2,564 =
4 x 641 samples at 256.41 Hz) costs 8 p^2 bytes of constants."""


def factors(num_samples: int) -> tuple[int, int]:
    """Returns a and b with a b = num_samples and the smallest matrices.

    Raises:
        UserError: one of the factors is above `LARGEST_FACTOR`.
    """
    a, b = fourier.factors(num_samples)
    if max(a, b) > LARGEST_FACTOR:
        raise UserError(
            f"A window of {num_samples} samples cannot be transformed by matrices, because its "
            f"factor {max(a, b)} is above {LARGEST_FACTOR}. Choose a window length or sampling "
            "rate whose number of samples has smaller prime factors.",
            problem="large_prime_factor",
        )
    return a, b


def add_filter(builder: Builder, x: str, num_samples: int, response: np.ndarray, n: int) -> str:
    """Multiplies the spectrum of `x` [B, T], continued by zeros to n samples; returns [B, T].

    `response` is real, [n // 2 + 1].
    """
    a, b = factors(n)
    parts = fourier.filter_parts(num_samples, n)
    half, rows = a // 2 + 1, parts.to_rows.shape[1]
    x = _padded(builder, x, num_samples, rows * b)
    x = builder.op("Reshape", x, builder.integers(-1, rows, b))
    x = builder.op("MatMul", builder.constant(_float(parts.to_rows)), x)
    x = _turned(builder, x, half, parts.turn, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.to_columns)))
    place = np.arange(half)[:, None] + a * np.arange(b)
    gain = response[np.minimum(place, n - place)] * parts.weight[:, None]
    x = builder.op("Mul", x, builder.constant(_float(np.concatenate([gain, gain], axis=1))))
    x = builder.op("MatMul", x, builder.constant(_float(parts.from_columns)))
    real, imag = builder.split("Split", x, names=(None, None), axis=2)
    x = _times(builder, real, imag, parts.turn.conj(), axis=1)
    x = builder.op("MatMul", builder.constant(_float(parts.from_rows)), x)
    x = builder.op("Reshape", x, builder.integers(-1, rows * b))
    return cut(builder, x, rows * b, num_samples)


def add_resampling(builder: Builder, x: str, before: int, after: int) -> str:
    """Resamples `x` [B, before] to [B, after] as `device.resample_to_count` does."""
    (a, b), (c, d) = factors(before), factors(after)
    parts = fourier.resampling_parts(before, after)
    found, used = parts.to_columns.shape[1] // 2 * a, len(parts.weight)
    x = builder.op("Reshape", x, builder.integers(-1, a, b))
    x = builder.op("MatMul", builder.constant(_float(parts.to_rows)), x)
    x = _turned(builder, x, a, parts.turn, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.to_columns)))
    x = builder.op("Reshape", x, builder.integers(-1, a, 2, found // a))
    x = builder.op("Transpose", x, perm=[0, 2, 3, 1])
    bins = builder.op("Reshape", x, builder.integers(-1, 2, found))
    if found < used:
        bins = builder.op("Pad", bins, builder.integers(0, 0, 0, 0, 0, used - found))
    if found > used:
        bins = _slice(builder, bins, used, axis=2)
    bins = builder.op("Mul", bins, builder.constant(_float(parts.weight)))
    x = builder.op("Reshape", bins, builder.integers(-1, 2 * used // d, d))
    x = builder.op("MatMul", builder.constant(_float(parts.from_rows)), x)
    x = _turned(builder, x, c, parts.back_turn, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(parts.from_columns)))
    x = builder.op("Transpose", x, perm=[0, 2, 1])
    return builder.op("Reshape", x, builder.integers(-1, after))


def _turned(builder: Builder, x: str, rows: int, turn: fourier.Complex, *, axis: int) -> str:
    """Multiplies [B, 2 rows, b], real parts over imaginary ones, by complex [rows, b]."""
    widths = builder.integers(rows, rows)
    real, imag = builder.split("Split", x, widths, names=(None, None), axis=1)
    return _times(builder, real, imag, turn, axis=axis)


def _times(builder: Builder, real: str, imag: str, turn: fourier.Complex, *, axis: int) -> str:
    """(real + i imag) turn, with its parts joined along an axis."""
    cosine, sine = builder.constant(_float(turn.real)), builder.constant(_float(turn.imag))
    new_real = builder.op("Sub", builder.op("Mul", real, cosine), builder.op("Mul", imag, sine))
    new_imag = builder.op("Add", builder.op("Mul", real, sine), builder.op("Mul", imag, cosine))
    return builder.op("Concat", new_real, new_imag, axis=axis)


def _padded(builder: Builder, x: str, length: int, wanted: int) -> str:
    if wanted == length:
        return x
    return builder.op("Pad", x, builder.integers(0, 0, 0, wanted - length))


def cut(builder: Builder, x: str, length: int, wanted: int) -> str:
    """The first `wanted` of the `length` samples of `x` [B, T]."""
    return x if wanted == length else _slice(builder, x, wanted, axis=1)


def _slice(builder: Builder, x: str, stop: int, *, axis: int) -> str:
    zero, end, along = builder.integers(0), builder.integers(stop), builder.integers(axis)
    return builder.op("Slice", x, zero, end, along)


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
