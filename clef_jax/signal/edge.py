"""Splits a zero-phase filter of a window into a convolution and a low-rank edge term.

Filtering forwards and backwards with odd extension is a fixed linear map A of the window. Away from
the ends A equals the convolution T with |H|^2. The difference, E = A - T, depends only on the
initial states of the two passes, ten modes each, and so has rank 20 exactly. E and its transpose
can be applied without forming a matrix, so a few dozen filtered signals determine the factors
(randomised range finder with one power iteration: Halko, Martinsson and Tropp 2011, algorithm 4.4).

Shapes: T time (samples), R = 20 rank of the edge term, K signals.
"""

import functools
from typing import NamedTuple, cast

import numpy as np

from clef_jax.signal import reference

RANK = 4 * reference.FILTER_ORDER
"""Rank of the edge term: the poles of the band-pass, once per end of the window."""

_OVERSAMPLING = 12
"""Signals that the range finder uses in addition to the rank."""


_DROPPED = 1e-9
"""Fraction of the largest singular value of an edge term, below which singular values are dropped.
"""


class Parts(NamedTuple):
    """A filter as irfft(rfft(x) spectrum) + left @ (right @ x), in float64."""

    fft_length: int
    spectrum: np.ndarray
    """Power response |H|^2, [fft_length // 2 + 1]."""
    left: np.ndarray
    """Left factor of the edge term, [T, R]."""
    right: np.ndarray
    """Right factor of the edge term, [R, T]."""


class ZeroPhase(NamedTuple):
    """Filter that runs forwards and backwards over a window with an odd extension."""

    sections: tuple[tuple[float, ...], ...]
    """Second-order sections, [sections][6]."""
    pad_samples: int
    """Number of samples of the extension at each end."""


def decompose(num_samples: int, sample_rate_hz: float, low_hz: float, high_hz: float) -> Parts:
    """Splits the band-pass for windows of `num_samples`, in a fraction of a second.

    Raises:
        UserError: the window is too short, or the band does not fit the rate.
    """
    sections = reference.sections(sample_rate_hz, low_hz, high_hz).tolist()
    filters = (ZeroPhase(tuple(map(tuple, sections)), reference.PAD_SAMPLES),)
    return decompose_chain(num_samples, filters, RANK)


@functools.lru_cache(maxsize=32)
def decompose_chain(
    num_samples: int, filters: tuple[ZeroPhase, ...], rank: int | None = None
) -> Parts:
    """Splits filters that are applied one after the other to windows of `num_samples`.

    Args:
        num_samples: number of samples T of a window.
        filters: the filters in their order.
        rank: rank R of the edge term; by default all of it that float32 resolves.

    Raises:
        UserError: the window is too short.
    """
    reference.check_length(num_samples)
    import scipy.fft  # takes a quarter of a second to import

    chain = [(np.array(item.sections), item.pad_samples) for item in filters]
    fft_length = cast(int, scipy.fft.next_fast_len(2 * num_samples, real=True))
    spectrum = np.prod([_power_response(sos, fft_length) for sos, _ in chain], axis=0)

    def convolve(x: np.ndarray) -> np.ndarray:
        y = np.asarray(scipy.fft.irfft(scipy.fft.rfft(x, fft_length) * spectrum, fft_length))
        return y[:, :num_samples]

    def edge(x: np.ndarray) -> np.ndarray:
        y = x
        for sos, pad in chain:
            y = _filter(sos, y, pad)
        return y - convolve(x)

    def edge_transposed(x: np.ndarray) -> np.ndarray:
        y = x
        for sos, pad in reversed(chain):
            y = _filter_transposed(sos, y, pad)
        return y - convolve(x)  # the convolution is symmetric

    # Each pole has a mode at both ends of each pass, and those of a chain mix.
    largest = rank or 8 * sum(len(sos) for sos, _ in chain)
    count = min(largest + _OVERSAMPLING, num_samples)
    probes = np.random.default_rng(0).standard_normal((count, num_samples))
    basis = _orthonormal(edge(_orthonormal(edge_transposed(_orthonormal(edge(probes))))))
    u, scale, right = np.linalg.svd(edge_transposed(basis), full_matrices=False)
    rank = rank or int((scale[:largest] > _DROPPED * scale[0]).sum())
    root = np.sqrt(scale[:rank])
    return Parts(
        fft_length=fft_length,
        spectrum=spectrum,
        left=(basis.T @ u[:, :rank]) * root,
        right=root[:, None] * right[:rank],
    )


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Returns an orthonormal basis of the row space."""
    return np.linalg.qr(rows.T)[0].T


def _power_response(sos: np.ndarray, fft_length: int) -> np.ndarray:
    """Returns |H|^2 at the frequencies of a real transform of `fft_length` samples."""
    delay = np.exp(-2j * np.pi * np.arange(fft_length // 2 + 1) / fft_length)
    powers = np.stack([np.ones_like(delay), delay, delay**2])
    return np.prod(np.abs((sos[:, :3] @ powers) / (sos[:, 3:] @ powers)) ** 2, axis=0)


def _filter(sos: np.ndarray, x: np.ndarray, pad: int = reference.PAD_SAMPLES) -> np.ndarray:
    """Returns A x for rows [K, T]."""
    import scipy.signal

    return scipy.signal.sosfiltfilt(sos, x, axis=-1, padlen=pad)


def _filter_transposed(
    sos: np.ndarray, y: np.ndarray, pad: int = reference.PAD_SAMPLES
) -> np.ndarray:
    """Returns A' y for rows [K, T].

    A extends, filters, reverses, filters, reverses and crops; A' applies the transposes of these in
    reverse order.
    """
    y = np.pad(y, [(0, 0), (pad, pad)])
    for _ in range(2):
        y = _one_pass_transposed(sos, y[:, ::-1])
    # Odd extension: 2 x[0] - x[pad:0:-1] before the window, 2 x[-1] - x[-2:-pad-2:-1] after it.
    before, x, after = y[:, :pad], y[:, pad:-pad].copy(), y[:, -pad:]
    x[:, 0] += 2 * before.sum(axis=1)
    x[:, -1] += 2 * after.sum(axis=1)
    x[:, 1 : pad + 1] -= before[:, ::-1]
    x[:, -pad - 1 : -1] -= after[:, ::-1]
    return x


def _one_pass_transposed(sos: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns F' y of one pass F x = (causal filter) x + x[0] (response to its initial state)."""
    import scipy.signal

    steady = scipy.signal.sosfilt_zi(sos)
    start_response, _ = scipy.signal.sosfilt(sos, np.zeros(y.shape[-1]), zi=steady)
    x = np.asarray(scipy.signal.sosfilt(sos, y[:, ::-1], axis=-1))[:, ::-1].copy()
    x[:, 0] += y @ start_response
    return x
