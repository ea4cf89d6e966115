"""Splits the zero-phase band-pass of a window into a convolution and a low-rank edge term.

Filtering forwards and backwards with odd extension is a fixed linear map A of the window. Away from
the ends it is the convolution T with |H|^2; the rest, E = A - T, is set by the states in which the
two passes start, ten modes each, and so has rank 20 exactly. Both E and its transpose can be
applied without ever forming a matrix, so a few dozen filtered signals find the factors (randomised
range finder with one power iteration: Halko, Martinsson and Tropp 2011, algorithm 4.4).

Shapes: T time (samples), R = 20 rank of the edge term, K signals.
"""

import functools
from typing import NamedTuple, cast

import numpy as np
import scipy.fft
import scipy.signal

from clef_jax.signal import reference

RANK = 4 * reference.FILTER_ORDER
"""Poles of the band-pass, once for each end of the window."""

_OVERSAMPLING = 12


class Parts(NamedTuple):
    """The band-pass as irfft(rfft(x) spectrum) + left @ (right @ x), in float64."""

    fft_length: int
    spectrum: np.ndarray
    """[fft_length // 2 + 1]."""
    left: np.ndarray
    """[T, R]."""
    right: np.ndarray
    """[R, T]."""


@functools.lru_cache(maxsize=32)
def decompose(num_samples: int, sample_rate_hz: float, low_hz: float, high_hz: float) -> Parts:
    """The parts of the band-pass for windows of `num_samples`; a fraction of a second.

    Raises:
        ValueError: the window is too short, or the band does not fit the rate.
    """
    sos = reference.sections(sample_rate_hz, low_hz, high_hz)
    reference.check_length(num_samples)
    fft_length = cast(int, scipy.fft.next_fast_len(2 * num_samples, real=True))
    spectrum = _power_response(sos, fft_length)

    def convolve(x: np.ndarray) -> np.ndarray:
        y = np.asarray(scipy.fft.irfft(scipy.fft.rfft(x, fft_length) * spectrum, fft_length))
        return y[:, :num_samples]

    def edge(x: np.ndarray) -> np.ndarray:
        return _filter(sos, x) - convolve(x)

    def edge_transposed(x: np.ndarray) -> np.ndarray:
        return _filter_transposed(sos, x) - convolve(x)  # the convolution is symmetric

    count = min(RANK + _OVERSAMPLING, num_samples)
    probes = np.random.default_rng(0).standard_normal((count, num_samples))
    basis = _orthonormal(edge(_orthonormal(edge_transposed(_orthonormal(edge(probes))))))
    u, scale, right = np.linalg.svd(edge_transposed(basis), full_matrices=False)
    root = np.sqrt(scale[:RANK])
    return Parts(
        fft_length=fft_length,
        spectrum=spectrum,
        left=(basis.T @ u[:, :RANK]) * root,
        right=root[:, None] * right[:RANK],
    )


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    return np.linalg.qr(rows.T)[0].T


def _power_response(sos: np.ndarray, fft_length: int) -> np.ndarray:
    """|H|^2 at the frequencies of a real transform of `fft_length` samples."""
    delay = np.exp(-2j * np.pi * np.arange(fft_length // 2 + 1) / fft_length)
    powers = np.stack([np.ones_like(delay), delay, delay**2])
    return np.prod(np.abs((sos[:, :3] @ powers) / (sos[:, 3:] @ powers)) ** 2, axis=0)


def _filter(sos: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A x for rows [K, T]."""
    return scipy.signal.sosfiltfilt(sos, x, axis=-1, padlen=reference.PAD_SAMPLES)


def _filter_transposed(sos: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A' y for rows [K, T].

    A extends, filters, reverses, filters, reverses and cuts; the transposes run in reverse order.
    """
    pad = reference.PAD_SAMPLES
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
    """F' y of one pass F x = (causal filter) x + x[0] (response of its starting state)."""
    steady = scipy.signal.sosfilt_zi(sos)
    start_response, _ = scipy.signal.sosfilt(sos, np.zeros(y.shape[-1]), zi=steady)
    x = np.asarray(scipy.signal.sosfilt(sos, y[:, ::-1], axis=-1))[:, ::-1].copy()
    x[:, 0] += y @ start_response
    return x
