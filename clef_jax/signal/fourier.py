"""Fourier transforms as products with small constant matrices.

A transform of N = a b samples is taken in two steps with a factor between them (Cooley and Tukey
1965, doi 10.1090/S0025-5718-1965-0178586-1). XLA turns the transform of a length that is no power
of two into one product with a dense N x N matrix on a TPU, which takes a hundred times as many
operations; and ONNX runtimes have products where their transform is slow or inexact. Products sum
at most some hundred numbers at a time, which float32 takes well.

Shapes: B batch, T time (samples); N = a b samples of a transform, h = a // 2 + 1 of its rows.
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
"""Beyond it the matrices would fill megabytes and the sums lose digits."""


class Method(NamedTuple):
    """How transforms are computed, and why so."""

    by_products: bool
    reason: str


def choose(platform: str, *lengths: int) -> Method:
    """How to take transforms of these numbers of samples on a platform (`cpu`, `tpu`, ...)."""
    if platform != "tpu":
        return Method(False, f"the transform of {platform} itself is fast")
    for length in lengths:
        largest = max(factors(length))
        if largest > LARGEST_FACTOR:
            reason = f"{length} samples have the factor {largest}, too large for a small matrix"
            return Method(False, reason)
    return Method(True, "XLA would multiply by dense matrices of all samples")


def factors(num_samples: int) -> tuple[int, int]:
    """a and b with a b = num_samples that make the matrices smallest."""
    pairs = [(num_samples // b, b) for b in range(1, num_samples + 1) if num_samples % b == 0]
    # The matrix of b is complex on both sides, that of a on one.
    return min(pairs, key=lambda pair: pair[0] ** 2 + 4 * pair[1] ** 2)


def circle(rows: int, columns: int, n: int) -> Complex:
    """exp(2 pi i r c / n), complex128 [rows, columns]."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % n
    return np.exp(2j * np.pi * turns / n)


def complex_matrix(matrix: Complex) -> np.ndarray:
    """What multiplies [.., real, imaginary] from the right as `matrix` does complex rows."""
    return np.block([[matrix.real, matrix.imag], [-matrix.imag, matrix.real]])


class FilterParts(NamedTuple):
    """Constants of a filter of [.., r, b] samples, zero beyond them, by a transform of a b."""

    to_rows: np.ndarray
    """[2 h, r]: along the first axis, real parts over imaginary ones. Rows 0 to a // 2 hold the
    whole spectrum of a real signal."""
    turn: Complex
    """[h, b], between the steps; conjugate on the way back."""
    to_columns: np.ndarray
    """[2 b, 2 b]: along the second axis, real parts beside imaginary ones."""
    weight: np.ndarray
    """[h]: how many rows of the spectrum each one stands for, divided by N."""
    from_columns: np.ndarray
    """[2 b, 2 b]."""
    from_rows: np.ndarray
    """[r, 2 h]."""


@functools.lru_cache(maxsize=32)
def filter_parts(num_samples: int, n: int) -> FilterParts:
    """The constants for `num_samples` that zeros continue to n."""
    a, b = factors(n)
    half = a // 2 + 1
    first = circle(half, -(-num_samples // b), a)
    to_rows = np.concatenate([first.real, -first.imag])
    return FilterParts(
        to_rows=to_rows,
        turn=circle(half, b, n).conj(),
        to_columns=complex_matrix(circle(b, b, b).conj()),
        weight=np.where(2 * np.arange(half) % a == 0, 1, 2) / n,
        from_columns=complex_matrix(circle(b, b, b)),
        from_rows=to_rows.T,
    )


def multiply_spectrum(x: jax.Array, response: jax.Array, n: int) -> jax.Array:
    """irfft(rfft(x, n) * response, n) of float32 [B, T], cut to [B, T].

    Args:
        x: continued by zeros to n samples.
        response: real, [n // 2 + 1].
        n: at least T, and with factors of at most `LARGEST_FACTOR`.
    """
    batch, num_samples = x.shape
    parts = filter_parts(num_samples, n)
    half, b = parts.turn.shape
    rows = parts.to_rows.shape[1]
    x = jnp.pad(x, ((0, 0), (0, rows * b - num_samples))).reshape(batch, rows, b)
    x = _product("kr,brc->bkc", _float(parts.to_rows), x)
    real, imag = _turned(x[:, :half], x[:, half:], parts.turn)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.to_columns))
    # Bin k + a l is in row k and column l.
    whole = jnp.concatenate([response, response[1 : n - n // 2][::-1]]).reshape(b, n // b)
    gain = whole[:, :half].T * _float(parts.weight)[:, None]
    x = x * jnp.concatenate([gain, gain], axis=1)[None]
    x = _product("bkc,cd->bkd", x, _float(parts.from_columns))
    real, imag = _turned(x[:, :, :b], x[:, :, b:], parts.turn.conj())
    x = _product("rk,bkc->brc", _float(parts.from_rows), jnp.concatenate([real, imag], axis=1))
    return x.reshape(batch, rows * b)[:, :num_samples]


class ResamplingParts(NamedTuple):
    """Constants of resampling by the Fourier method: a transform, fewer or more bins, and back.

    a b are the samples before and c d those after; u columns of a bins hold all that are used,
    and r rows of d bins are taken back.
    """

    to_rows: np.ndarray
    """[2 a, a]: along the first axis, real parts over imaginary ones."""
    turn: Complex
    """[a, b]."""
    to_columns: np.ndarray
    """[2 b, 2 u]: real parts beside imaginary ones; row k and column l hold bin k + a l."""
    weight: np.ndarray
    """[r d], of each bin."""
    from_rows: np.ndarray
    """[2 c, 2 r]."""
    back_turn: Complex
    """[c, d]."""
    from_columns: np.ndarray
    """[2 d, d]; row k and column l of what remains hold sample k + c l."""


@functools.lru_cache(maxsize=32)
def resampling_parts(before: int, after: int) -> ResamplingParts:
    """The constants for `before` samples of which `after` are made."""
    (a, b), (c, d) = factors(before), factors(after)
    highest = min(before, after) // 2
    rows = highest // d + 1
    weight = np.zeros(rows * d)
    weight[: highest + 1] = 2 / before
    weight[0] = 1 / before
    if min(before, after) % 2 == 0 and after > before:
        # The bin at half the lower rate stands for a positive and a negative frequency.
        weight[highest] = 1 / before
    first, last = circle(a, a, a).conj(), circle(d, d, d)
    return ResamplingParts(
        to_rows=np.concatenate([first.real, first.imag]),
        turn=circle(a, b, before).conj(),
        to_columns=complex_matrix(circle(b, highest // a + 1, b).conj()),
        weight=weight,
        from_rows=complex_matrix(circle(rows, c, c)).T,
        back_turn=circle(c, d, after),
        from_columns=np.concatenate([last.real, -last.imag]),
    )


def resample(x: jax.Array, after: int) -> jax.Array:
    """Resamples float32 [B, T] to [B, after] by the Fourier method, as `scipy.signal.resample`.

    T and `after` have factors of at most `LARGEST_FACTOR`.
    """
    batch, before = x.shape
    parts = resampling_parts(before, after)
    a, b = parts.turn.shape
    x = _product("kr,brc->bkc", _float(parts.to_rows), x.reshape(batch, a, b))
    real, imag = _turned(x[:, :a], x[:, a:], parts.turn)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.to_columns))
    bins = x.reshape(batch, a, 2, -1).transpose(0, 2, 3, 1).reshape(batch, 2, -1)
    (c, d), used = parts.back_turn.shape, len(parts.weight)
    bins = jnp.pad(bins, ((0, 0), (0, 0), (0, max(used - bins.shape[2], 0))))[:, :, :used]
    x = (bins * _float(parts.weight)[None, None]).reshape(batch, -1, d)
    x = _product("kr,brc->bkc", _float(parts.from_rows), x)
    real, imag = _turned(x[:, :c], x[:, c:], parts.back_turn)
    x = _product("bkc,cd->bkd", jnp.concatenate([real, imag], axis=2), _float(parts.from_columns))
    return x.transpose(0, 2, 1).reshape(batch, after)


def _product(axes: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(axes, left, right, precision=lax.Precision.HIGHEST)


def _turned(real: jax.Array, imag: jax.Array, turn: Complex) -> tuple[jax.Array, jax.Array]:
    """(real + i imag) turn, of [B, h, b] and [h, b]."""
    cosine, sine = _float(turn.real)[None], _float(turn.imag)[None]
    return real * cosine - imag * sine, real * sine + imag * cosine


def _float(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jnp.float32)
