"""Signal processing on the device: jitted float32 counterparts of `reference`, for batches.

Shapes: B batch, C leads, T time (samples), R rank of the filter's edge term (20 of the band-pass).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from clef_jax import machine
from clef_jax.errors import counted
from clef_jax.signal import edge, fourier, reference
from clef_jax.signal.adc import MISSING_ADC

_MOST_PACKED_SAMPLES = (1 << 15) - 1
"""Longest window whose sample indices fit into an int32 beside a sample's 16 bits, with one number
left for "no sample"."""

_CHUNK_SAMPLES = 64
"""Samples that are summed first, before the sums of all chunks of a window are added."""


def from_adc(adc: jax.Array, gain_per_mv: jax.Array, baseline: jax.Array) -> jax.Array:
    """Converts stored samples to millivolts and fills missing ones, as `reference.fill_gaps` does.

    Args:
        adc: int16 [B, T]; -32768 is a missing sample.
        gain_per_mv: [B], ADC units per millivolt.
        baseline: [B], the ADC value of 0 mV.

    Returns:
        The signals in mV, float32 [B, T]; a signal with no recorded sample becomes zeros.
    """
    offset = baseline.astype(jnp.float32)[:, None]

    def millivolts(adc: jax.Array) -> jax.Array:
        return (adc.astype(jnp.float32) - offset) / gain_per_mv.astype(jnp.float32)[:, None]

    present = adc != MISSING_ADC
    if adc.shape[-1] > _MOST_PACKED_SAMPLES:
        return _fill(millivolts(adc), present)
    left, start, right, stop = _neighbours(adc, present)
    return _line(millivolts(adc), present, left, millivolts(start), right, millivolts(stop))


def fill_gaps(x: jax.Array) -> jax.Array:
    """Replaces non-finite values of float32 [B, T] as `reference.fill_gaps` replaces NaN."""
    return _fill(x, jnp.isfinite(x))


def _neighbours(adc: jax.Array, present: jax.Array) -> tuple[jax.Array, ...]:
    """Returns index and value, int32 [B, T], of the previous and of the next present sample.

    Index and value are packed into one number and found by a running maximum, because a TPU has no
    fast gather along time.
    """
    time = lax.broadcasted_iota(jnp.int32, adc.shape, 1)
    packed = (time << 16) + (adc.astype(jnp.int32) - MISSING_ADC)
    none_before, none_after = -1, jnp.iinfo(jnp.int32).max
    before = lax.cummax(jnp.where(present, packed, none_before), axis=1)
    after = lax.cummin(jnp.where(present, packed, none_after), axis=1, reverse=True)
    # At the edges only one neighbour exists, and it is held.
    left = jnp.where(before == none_before, after, before)
    right = jnp.where(after == none_after, before, after)
    return left >> 16, (left & 0xFFFF) + MISSING_ADC, right >> 16, (right & 0xFFFF) + MISSING_ADC


def _fill(signal: jax.Array, present: jax.Array) -> jax.Array:
    """Interpolates `signal` [B, T] linearly where it is not `present`."""
    num_samples = signal.shape[-1]
    time = lax.broadcasted_iota(jnp.int32, signal.shape, 1)
    before = lax.cummax(jnp.where(present, time, -1), axis=1)
    after = lax.cummin(jnp.where(present, time, num_samples), axis=1, reverse=True)
    # At the edges only one neighbour exists, and it is held.
    left = jnp.where(before < 0, jnp.minimum(after, num_samples - 1), before)
    right = jnp.where(after == num_samples, jnp.maximum(before, 0), after)
    start = jnp.take_along_axis(signal, left, axis=1)
    stop = jnp.take_along_axis(signal, right, axis=1)
    return _line(signal, present, left, start, right, stop)


def _line(
    signal: jax.Array,
    present: jax.Array,
    left: jax.Array,
    start: jax.Array,
    right: jax.Array,
    stop: jax.Array,
) -> jax.Array:
    """Returns `signal` where present, else the line from (left, start) to (right, stop); [B, T]."""
    time = lax.broadcasted_iota(jnp.int32, signal.shape, 1)
    fraction = (time - left).astype(jnp.float32) / jnp.maximum(right - left, 1)
    filled = jnp.where(present, signal, start + (stop - start) * fraction)
    return jnp.where(present.any(axis=1, keepdims=True), filled, 0)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["spectrum", "left", "right"],
    meta_fields=["num_samples", "sample_rate_hz", "fft_length"],
)
@dataclasses.dataclass(frozen=True)
class Bandpass:
    """Zero-phase filter of windows of one length, as a linear map; see `edge`. It removes a
    constant."""

    spectrum: jax.Array
    """Power response |H|^2, float32 [fft_length // 2 + 1]."""
    left: jax.Array
    """Left factor of the edge term, float32 [T, R]."""
    right: jax.Array
    """Right factor of the edge term, float32 [ceil(T / 64), 64, R], zero beyond T."""
    num_samples: int
    sample_rate_hz: float
    fft_length: int


def make_bandpass(
    num_samples: int, sample_rate_hz: float, low_hz: float = 0.67, high_hz: float = 40.0
) -> Bandpass:
    """Returns the float32 band-pass that corresponds to `reference.bandpass`.

    Args:
        num_samples: number of samples T of a window.
        sample_rate_hz: sampling rate of the windows in Hz.
        low_hz, high_hz: edges of the pass band in Hz.

    Raises:
        UserError: the window is too short, or the band does not fit the rate.
    """
    parts = edge.decompose(num_samples, sample_rate_hz, low_hz, high_hz)
    return _of_parts(parts, num_samples, sample_rate_hz)


def make_chain(
    num_samples: int, sample_rate_hz: float, filters: tuple[edge.ZeroPhase, ...]
) -> Bandpass:
    """Returns filters that are applied one after the other, as a single one.

    Together they must remove a constant.

    Raises:
        UserError: the window is too short.
    """
    return _of_parts(edge.decompose_chain(num_samples, filters), num_samples, sample_rate_hz)


def _of_parts(parts: edge.Parts, num_samples: int, sample_rate_hz: float) -> Bandpass:
    right = np.pad(parts.right.T, [(0, -num_samples % _CHUNK_SAMPLES), (0, 0)])
    return Bandpass(
        spectrum=jnp.asarray(parts.spectrum, jnp.float32),
        left=jnp.asarray(parts.left, jnp.float32),
        right=jnp.asarray(right.reshape(-1, _CHUNK_SAMPLES, right.shape[1]), jnp.float32),
        num_samples=num_samples,
        sample_rate_hz=sample_rate_hz,
        fft_length=parts.fft_length,
    )


def bandpass(x: jax.Array, bandpass_filter: Bandpass) -> jax.Array:
    """Filters float32 [B, T] as `reference.bandpass` does, up to rounding.

    The error is about 1e-7 of the largest input, which is about 1e-6 of the largest output for an
    ECG, and more where the filter removes almost everything.

    Raises:
        ValueError: T is not the window length of the filter.
    """
    f = bandpass_filter
    if x.shape[-1] != f.num_samples:
        raise ValueError(
            f"The band-pass is for windows of {counted(f.num_samples, 'sample')}, but the signal "
            f"has {x.shape[-1]:,}; make one with make_bandpass for that length."
        )
    # The filter removes a constant, so subtracting the mean only preserves float32 precision. Flat
    # signals become exact zeros, because the z-score would scale up the rounding of their mean.
    flat = (x == x[:, :1]).all(axis=-1, keepdims=True)
    x = jnp.where(flat, 0, x - x.mean(axis=-1, keepdims=True))
    middle = _multiply_spectrum(x, f.spectrum, f.fft_length)
    # Each chunk is summed separately: one long float32 sum of slow drift is ten times less exact.
    chunks = jnp.pad(x, [(0, 0), (0, -f.num_samples % _CHUNK_SAMPLES)])
    chunks = chunks.reshape(-1, *f.right.shape[:2])
    modes = jnp.einsum("bkt,ktr->bkr", chunks, f.right, precision=lax.Precision.HIGHEST).sum(1)
    return middle + jnp.matmul(modes, f.left.T, precision=lax.Precision.HIGHEST)


def _multiply_spectrum(x: jax.Array, response: jax.Array, n: int) -> jax.Array:
    """Multiplies the spectrum of [B, T], zero-padded to n samples, by a response [n // 2 + 1]."""
    if fourier.choose(machine.current_platform(), n).by_products:
        return fourier.multiply_spectrum(x, response, n)
    return jnp.fft.irfft(jnp.fft.rfft(x, n=n) * response[None, :], n=n)[:, : x.shape[-1]]


def resample_to_count(x: jax.Array, num_samples: int) -> jax.Array:
    """Resamples by the Fourier method: float32 [B, T] to [B, num_samples]."""
    before, after = x.shape[-1], num_samples
    if after == before:
        return x
    shorter = min(before, after)
    # The mean bypasses the transform, so that a flat signal stays exactly flat.
    mean = x.mean(axis=-1, keepdims=True)
    if fourier.choose(machine.current_platform(), before, after).by_products:
        return fourier.resample(x - mean, after) + mean
    spectrum = jnp.fft.rfft(x - mean)[:, : shorter // 2 + 1]
    if shorter % 2 == 0:
        # The bin at half the lower rate represents a positive and a negative frequency.
        half = 0.5 if after > before else 2.0
        spectrum = spectrum.at[:, -1].multiply(half)
    return jnp.fft.irfft(spectrum, n=after) * (after / before) + mean


def resample_rows(
    x: jax.Array, number: jax.Array, stored_samples: tuple[int, ...], num_samples: int
) -> jax.Array:
    """Resamples rows of several lengths to one length by the Fourier method.

    The shapes do not depend on how many rows have which length, so that one program fits every
    batch. Each length that occurs is resampled for all rows and selected for its own; a length that
    does not occur is skipped. So a row depends on nothing but its own samples, on any number of
    devices, and a batch of one data set costs one resampling.

    Args:
        x: float32 [B, T]; a row of a shorter length is padded at its end.
        number: int32 [B], position of each row's length in `stored_samples`.
        stored_samples: lengths of the rows, ascending; the last is T.
        num_samples: length of the result.

    Returns:
        The resampled rows, float32 [B, num_samples].
    """

    def select(length: int, x: jax.Array, mask: jax.Array, result: jax.Array) -> jax.Array:
        return jnp.where(mask[:, None], resample_to_count(x[:, :length], num_samples), result)

    result = jnp.broadcast_to(x[:, :1], (x.shape[0], num_samples))
    for i, length in enumerate(stored_samples):
        mask = number == i
        branches = (functools.partial(select, length), lambda x, mask, result: result)
        result = lax.cond(mask.any(), *branches, x, mask, result)
    return result


def zscore(x: jax.Array) -> jax.Array:
    """Returns (x - mean) / (population standard deviation + 1e-8) over time, float32 [B, T]."""
    x = x - x.mean(axis=-1, keepdims=True)
    # Subtracted again: the rounding error of a flat signal must not be scaled up to noise.
    x = x - x.mean(axis=-1, keepdims=True)
    std = jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True))
    return x / (std + reference.STD_FLOOR)
