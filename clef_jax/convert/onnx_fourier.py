"""Fourier transforms of ONNX graphs, as products with small constant matrices.

A transform of N = a b samples is taken in two steps with a factor between them (Cooley and Tukey,
1965): every runtime has matrix products, they sum at most a few hundred numbers at a time, which
float32 takes well, and the constants are small. On one core onnxruntime's own DFT operator takes
11 ms for a filter of 10,000 samples and errs by 3e-4 of the largest value; these products take
some tenths of a millisecond and err by less than 1e-6.

Shapes: B batch, T time (samples); N = a b samples of a transform, j = a/2 + 1 of its rows.
"""

import numpy as np
import numpy.typing as npt

from clef_jax.convert.onnx_graph import Builder
from clef_jax.errors import UserError

_Complex = npt.NDArray[np.complex128]

LARGEST_FACTOR = 1024
"""Beyond it the matrices would fill megabytes and the sums lose digits."""


def factors(num_samples: int) -> tuple[int, int]:
    """a and b with a b = num_samples and small matrices.

    Raises:
        UserError: one of them would be above `LARGEST_FACTOR`.
    """
    pairs = [(num_samples // b, b) for b in range(1, num_samples + 1) if num_samples % b == 0]
    # The matrix of b is complex on both sides, that of a on one.
    a, b = min(pairs, key=lambda pair: pair[0] ** 2 + 4 * pair[1] ** 2)
    if max(a, b) > LARGEST_FACTOR:
        raise UserError(
            f"A window of {num_samples} samples cannot be transformed by small matrices, because "
            f"{max(a, b)} of its factors is too large. Choose a window length or sampling rate "
            "whose number of samples has small prime factors, such as 2, 3 and 5."
        )
    return a, b


def add_filter(builder: Builder, x: str, num_samples: int, response: np.ndarray, n: int) -> str:
    """Multiplies the spectrum of `x` [B, T], continued by zeros to n samples; returns [B, T].

    `response` is real, [n // 2 + 1].
    """
    a, b = factors(n)
    rows, half = -(-num_samples // b), a // 2 + 1
    x = _padded(builder, x, num_samples, rows * b)
    x = builder.op("Reshape", x, builder.integers(-1, rows, b))
    # Rows 0 to a/2 hold the whole spectrum of a real signal.
    first, turn = _circle(half, rows, a), _circle(half, b, n).conj()
    to_rows = np.concatenate([first.real, -first.imag])
    x = builder.op("MatMul", builder.constant(_float(to_rows)), x)
    x = _turned(builder, x, half, turn, axis=2)
    x = builder.op("MatMul", x, builder.constant(_float(_complex_matrix(_circle(b, b, b).conj()))))
    place = np.arange(half)[:, None] + a * np.arange(b)
    weight = np.where(2 * np.arange(half) % a == 0, 1, 2) / n
    gain = response[np.minimum(place, n - place)] * weight[:, None]
    x = builder.op("Mul", x, builder.constant(_float(np.concatenate([gain, gain], axis=1))))
    x = builder.op("MatMul", x, builder.constant(_float(_complex_matrix(_circle(b, b, b)))))
    real, imag = builder.split("Split", x, names=(None, None), axis=2)
    x = _times(builder, real, imag, turn.conj(), axis=1)
    from_rows = np.concatenate([first.real, -first.imag]).T
    x = builder.op("MatMul", builder.constant(_float(from_rows)), x)
    x = builder.op("Reshape", x, builder.integers(-1, rows * b))
    return cut(builder, x, rows * b, num_samples)


def add_resampling(builder: Builder, x: str, before: int, after: int) -> str:
    """Resamples by the Fourier method: `x` [B, before] to [B, after], as `device.resample`."""
    highest = min(before, after) // 2
    bins, columns = _add_spectrum(builder, x, before, highest)
    a, b = factors(after)
    rows = -(-(highest + 1) // b)
    weight = np.zeros(max(columns, rows * b))
    weight[: highest + 1] = 2 / before
    weight[0] = 1 / before
    if min(before, after) % 2 == 0 and after > before:
        # The bin at half the lower rate stands for a positive and a negative frequency.
        weight[highest] = 1 / before
    if columns < rows * b:
        bins = builder.op("Pad", bins, builder.integers(0, 0, 0, 0, 0, rows * b - columns))
    bins = builder.op("Mul", bins, builder.constant(_float(weight)))
    if columns > rows * b:
        bins = _slice(builder, bins, rows * b, axis=2)
    x = builder.op("Reshape", bins, builder.integers(-1, 2 * rows, b))
    first = builder.constant(_float(_complex_matrix(_circle(rows, a, a)).T))
    x = builder.op("MatMul", first, x)
    x = _turned(builder, x, a, _circle(a, b, after), axis=2)
    last = _circle(b, b, b)
    last = builder.constant(_float(np.concatenate([last.real, -last.imag])))
    x = builder.op("MatMul", x, last)
    x = builder.op("Transpose", x, perm=[0, 2, 1])
    return builder.op("Reshape", x, builder.integers(-1, after))


def _add_spectrum(builder: Builder, x: str, n: int, highest: int) -> tuple[str, int]:
    """Real and imaginary parts [B, 2, M] of bins 0 to M - 1, `highest` among them; and M."""
    a, b = factors(n)
    used = highest // a + 1
    x = builder.op("Reshape", x, builder.integers(-1, a, b))
    first = _circle(a, a, a).conj()
    first = builder.constant(_float(np.concatenate([first.real, first.imag])))
    x = builder.op("MatMul", first, x)
    x = _turned(builder, x, a, _circle(a, b, n).conj(), axis=2)
    last = _complex_matrix(_circle(b, used, b).conj())
    x = builder.op("MatMul", x, builder.constant(_float(last)))
    x = builder.op("Reshape", x, builder.integers(-1, a, 2, used))
    x = builder.op("Transpose", x, perm=[0, 2, 3, 1])
    return builder.op("Reshape", x, builder.integers(-1, 2, used * a)), used * a


def _turned(builder: Builder, x: str, rows: int, turn: _Complex, *, axis: int) -> str:
    """Multiplies [B, 2 rows, b], real parts over imaginary ones, by complex [rows, b]."""
    widths = builder.integers(rows, rows)
    real, imag = builder.split("Split", x, widths, names=(None, None), axis=1)
    return _times(builder, real, imag, turn, axis=axis)


def _times(builder: Builder, real: str, imag: str, turn: _Complex, *, axis: int) -> str:
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


def _circle(rows: int, columns: int, n: int) -> _Complex:
    """exp(2 pi i r c / n), complex128 [rows, columns]."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % n
    return np.exp(2j * np.pi * turns / n)


def _complex_matrix(matrix: _Complex) -> np.ndarray:
    """What multiplies [.., real, imaginary] from the right as `matrix` does complex rows."""
    return np.block([[matrix.real, matrix.imag], [-matrix.imag, matrix.real]])


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
