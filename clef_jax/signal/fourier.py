"""Computes Fourier transforms as products with small constant matrices.

A transform of N = a b samples is computed in two steps with twiddle factors between them (Cooley
and Tukey 1965, doi 10.1090/S0025-5718-1965-0178586-1). On a TPU, XLA computes a transform whose
length is not a power of two as a product with a dense N x N matrix, which takes a hundred times as
many operations. In ONNX runtimes, transforms are slow or inexact. These products sum at most a few
hundred numbers each, which is accurate in float32.

Shapes: B batch, T time (samples); N = a b samples of a transform, h = a // 2 + 1 of its a rows.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

Complex = npt.NDArray[np.complex128]

LARGEST_FACTOR = 1024
"""Largest factor of a length: larger matrices would take megabytes and lose precision."""


class Method(NamedTuple):
    """How transforms are computed, and why."""

    by_products: bool
    """True for products with small matrices, False for the platform's own transform."""
    reason: str


def choose(platform: str, *lengths: int) -> Method:
    """Returns how to compute transforms of these lengths on a platform (`cpu`, `tpu`, ...)."""
    if platform != "tpu":
        return Method(False, f"the platform's own transform is fast ({platform})")
    for length in lengths:
        largest = max(factors(length))
        if largest > LARGEST_FACTOR:
            reason = f"{length} samples have the factor {largest}, too large for a small matrix"
            return Method(False, reason)
    return Method(True, "XLA would multiply by dense matrices of all samples")


def factors(num_samples: int) -> tuple[int, int]:
    """Returns a and b with a b = `num_samples` for which the matrices are smallest."""
    pairs = [(num_samples // b, b) for b in range(1, num_samples + 1) if num_samples % b == 0]
    # The matrix for b has complex input and output, that for a only one of them.
    return min(pairs, key=lambda pair: pair[0] ** 2 + 4 * pair[1] ** 2)


def roots_of_unity(rows: int, columns: int, n: int) -> Complex:
    """Returns exp(2 pi i r c / n), complex128 [rows, columns]."""
    exponents = np.outer(np.arange(rows), np.arange(columns)) % n
    return np.exp(2j * np.pi * exponents / n)


def complex_matrix(matrix: Complex) -> np.ndarray:
    """Returns the real matrix that maps rows [real, imaginary] as `matrix` maps complex rows."""
    return np.block([[matrix.real, matrix.imag], [-matrix.imag, matrix.real]])


class FilterParts(NamedTuple):
    """Constants of a filter of r b samples, zero-padded to a transform of a b samples."""

    to_rows: np.ndarray
    """Forward transform along rows, [2 h, r], real parts above imaginary parts; rows 0 to a // 2
    hold the complete spectrum of a real signal."""
    twiddle: Complex
    """Twiddle factors between the steps, [h, b]; their conjugates in the inverse transform."""
    to_columns: np.ndarray
    """Forward transform along columns, [2 b, 2 b], real parts beside imaginary parts."""
    weight: np.ndarray
    """Number of rows of the spectrum that each row represents, divided by N, [h]."""
    from_columns: np.ndarray
    """Inverse transform along columns, [2 b, 2 b]."""
    from_rows: np.ndarray
    """Inverse transform along rows, [r, 2 h]."""


@functools.lru_cache(maxsize=32)
def filter_parts(num_samples: int, n: int) -> FilterParts:
    """Returns the constants for `num_samples`, zero-padded to n."""
    a, b = factors(n)
    half = a // 2 + 1
    first = roots_of_unity(half, -(-num_samples // b), a)
    to_rows = np.concatenate([first.real, -first.imag])
    return FilterParts(
        to_rows=to_rows,
        twiddle=roots_of_unity(half, b, n).conj(),
        to_columns=complex_matrix(roots_of_unity(b, b, b).conj()),
        weight=np.where(2 * np.arange(half) % a == 0, 1, 2) / n,
        from_columns=complex_matrix(roots_of_unity(b, b, b)),
        from_rows=to_rows.T,
    )


def multiply_spectrum(x: jax.Array, response: jax.Array, n: int) -> jax.Array:
    """Returns irfft(rfft(x, n) * response, n), cropped to the length of `x`.

    Args:
        x: float32 [B, T].
        response: real, [n // 2 + 1].
        n: length of the transform, at least T, with factors of at most `LARGEST_FACTOR`.

    Returns:
        The filtered signals, float32 [B, T].
    """
    batch, num_samples = x.shape
    parts = filter_parts(num_samples, n)
    half, b = parts.twiddle.shape
    rows = parts.to_rows.shape[1]
    x = jnp.pad(x, ((0, 0), (0, rows * b - num_samples))).reshape(batch, rows, b)
    x = _product("kr,brc->bkc", _float(parts.to_rows), x)
    real, imag = _twiddled(x[:, :half], x[:, half:], parts.twiddle)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.to_columns))
    # Bin k + a l is in row k and column l.
    whole = jnp.concatenate([response, response[1 : n - n // 2][::-1]]).reshape(b, n // b)
    gain = whole[:, :half].T * _float(parts.weight)[:, None]
    x = x * jnp.concatenate([gain, gain], axis=1)[None]
    x = _product("bkc,cd->bkd", x, _float(parts.from_columns))
    real, imag = _twiddled(x[:, :, :b], x[:, :, b:], parts.twiddle.conj())
    x = _product("rk,bkc->brc", _float(parts.from_rows), jnp.concatenate([real, imag], axis=1))
    return x.reshape(batch, rows * b)[:, :num_samples]


class ResamplingParts(NamedTuple):
    """Constants of resampling by the Fourier method: transform, crop or pad bins, transform back.

    There are a b samples before and c d samples after. Of the spectrum, u columns of a bins hold
    all bins that are used, and r rows of d bins are transformed back.
    """

    to_rows: np.ndarray
    """Forward transform along rows, [2 a, a], real parts above imaginary parts."""
    twiddle: Complex
    """Twiddle factors of the forward transform, [a, b]."""
    to_columns: np.ndarray
    """Forward transform along columns, [2 b, 2 u], real parts beside imaginary parts; row k and
    column l of its result hold bin k + a l."""
    weight: np.ndarray
    """Weight of each bin, [r d]."""
    from_rows: np.ndarray
    """Inverse transform along rows, [2 c, 2 r]."""
    inverse_twiddle: Complex
    """Twiddle factors of the inverse transform, [c, d]."""
    from_columns: np.ndarray
    """Inverse transform along columns, [2 d, d]; row k and column l of its result hold sample
    k + c l."""


@functools.lru_cache(maxsize=32)
def resampling_parts(before: int, after: int) -> ResamplingParts:
    """Returns the constants for resampling `before` samples to `after` samples."""
    (a, b), (c, d) = factors(before), factors(after)
    highest = min(before, after) // 2
    rows = highest // d + 1
    weight = np.zeros(rows * d)
    weight[: highest + 1] = 2 / before
    weight[0] = 1 / before
    if min(before, after) % 2 == 0 and after > before:
        # The bin at half the lower rate represents a positive and a negative frequency.
        weight[highest] = 1 / before
    first, last = roots_of_unity(a, a, a).conj(), roots_of_unity(d, d, d)
    return ResamplingParts(
        to_rows=np.concatenate([first.real, first.imag]),
        twiddle=roots_of_unity(a, b, before).conj(),
        to_columns=complex_matrix(roots_of_unity(b, highest // a + 1, b).conj()),
        weight=weight,
        from_rows=complex_matrix(roots_of_unity(rows, c, c)).T,
        inverse_twiddle=roots_of_unity(c, d, after),
        from_columns=np.concatenate([last.real, -last.imag]),
    )


def resample(x: jax.Array, after: int) -> jax.Array:
    """Resamples float32 [B, T] to [B, after] by the Fourier method, like `scipy.signal.resample`.

    T and `after` must have factors of at most `LARGEST_FACTOR`.
    """
    batch, before = x.shape
    parts = resampling_parts(before, after)
    a, b = parts.twiddle.shape
    x = _product("kr,brc->bkc", _float(parts.to_rows), x.reshape(batch, a, b))
    real, imag = _twiddled(x[:, :a], x[:, a:], parts.twiddle)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.to_columns))
    bins = x.reshape(batch, a, 2, -1).transpose(0, 2, 3, 1).reshape(batch, 2, -1)
    (c, d), used = parts.inverse_twiddle.shape, len(parts.weight)
    bins = jnp.pad(bins, ((0, 0), (0, 0), (0, max(used - bins.shape[2], 0))))[:, :, :used]
    x = (bins * _float(parts.weight)[None, None]).reshape(batch, -1, d)
    x = _product("kr,brc->bkc", _float(parts.from_rows), x)
    real, imag = _twiddled(x[:, :c], x[:, c:], parts.inverse_twiddle)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.from_columns))
    return x.transpose(0, 2, 1).reshape(batch, after)


def _product(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(axes, left, right, precision=lax.Precision.HIGHEST)


def _twiddled(real: jax.Array, imag: jax.Array, twiddle: Complex) -> tuple[jax.Array, jax.Array]:
    """Returns real and imaginary part of (real + i imag) * twiddle, from [B, h, b] and [h, b]."""
    cosine, sine = _float(twiddle.real)[None], _float(twiddle.imag)[None]
    return real * cosine - imag * sine, real * sine + imag * cosine


def _float(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jnp.float32)
