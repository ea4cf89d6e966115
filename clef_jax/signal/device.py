"""Signal processing on the device: jitted float32 twins of `reference`, for batches.

Shapes: B batch, T time (samples), R = 20 rank of the filter's edge term.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from clef_jax import machine
from clef_jax.signal import edge, fourier, reference
from clef_jax.signal.adc import MISSING_ADC

_MOST_PACKED_SAMPLES = (1 << 15) - 1
"""Windows up to this length have room for a sample's place beside its 16 bits in an int32, and for
a number that stands for none."""

_PIECE_SAMPLES = 64
"""Samples that are summed before pieces of a window are added up."""


def from_adc(adc: jax.Array, gain_per_mv: jax.Array, baseline: jax.Array) -> jax.Array:
    """Converts stored samples to millivolts and fills missing ones, as `reference.fill_gaps` does.

    Args:
        adc: int16 [B, T]; -32768 is a missing sample.
        gain_per_mv: [B], ADC units per millivolt.
        baseline: [B], the ADC value of 0 mV.

    Returns:
        float32 [B, T], mV; a signal without a single sample is zeros.
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
    """Fills what is not finite in float32 [B, T] as `reference.fill_gaps` fills NaN."""
    return _fill(x, jnp.isfinite(x))


def _neighbours(adc: jax.Array, present: jax.Array) -> tuple[jax.Array, ...]:
    """Place and value, int32 [B, T], of the last present sample and of the next one.

    Each travels as one number through a running maximum: a TPU has no fast gather along time.
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
    """`signal` [B, T] where `present`, and straight lines between."""
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
    """`signal` where `present`, else a line from `start` at `left` to `stop` at `right`; [B, T]."""
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
    """The zero-phase band-pass of windows of one length, as a linear map; see `edge`."""

    spectrum: jax.Array
    """[fft_length // 2 + 1], |H|^2."""
    left: jax.Array
    """[T, R]."""
    right: jax.Array
    """[T / 64 rounded up, 64, R], zero beyond T; left and right correct the ends of the window."""
    num_samples: int
    sample_rate_hz: float
    fft_length: int


def make_bandpass(
    num_samples: int, sample_rate_hz: float, low_hz: float = 0.67, high_hz: float = 40.0
) -> Bandpass:
    """The band-pass of `reference.bandpass` for windows of `num_samples`, in float32.

    Raises:
        ValueError: the window is too short, or the band does not fit the rate.
    """
    parts = edge.decompose(num_samples, sample_rate_hz, low_hz, high_hz)
    right = np.pad(parts.right.T, [(0, -num_samples % _PIECE_SAMPLES), (0, 0)])
    return Bandpass(
        spectrum=jnp.asarray(parts.spectrum, jnp.float32),
        left=jnp.asarray(parts.left, jnp.float32),
        right=jnp.asarray(right.reshape(-1, _PIECE_SAMPLES, edge.RANK), jnp.float32),
        num_samples=num_samples,
        sample_rate_hz=sample_rate_hz,
        fft_length=parts.fft_length,
    )


def bandpass(x: jax.Array, bandpass_filter: Bandpass) -> jax.Array:
    """Filters float32 [B, T] as `reference.bandpass` does, to rounding.

    The error is some 1e-7 of the largest input, so it is about 1e-6 of the largest output for an
    ECG, and more where almost everything is filtered away.

    Raises:
        ValueError: T is not the length that the filter was made for.
    """
    f = bandpass_filter
    if x.shape[-1] != f.num_samples:
        raise ValueError(
            f"The band-pass was made for windows of {f.num_samples} samples; the signal has "
            f"{x.shape[-1]}."
        )
    # A constant is filtered away entirely, so an offset would only cost float32 its digits. Of a
    # flat signal the mean's own rounding would remain, which the z-score scales up to noise.
    flat = (x == x[:, :1]).all(axis=-1, keepdims=True)
    x = jnp.where(flat, 0, x - x.mean(axis=-1, keepdims=True))
    middle = _multiply_spectrum(x, f.spectrum, f.fft_length)
    # Summed piece by piece: one long float32 sum of slow drift is ten times less exact.
    pieces = jnp.pad(x, [(0, 0), (0, -f.num_samples % _PIECE_SAMPLES)])
    pieces = pieces.reshape(-1, *f.right.shape[:2])
    modes = jnp.einsum("bkt,ktr->bkr", pieces, f.right, precision=lax.Precision.HIGHEST).sum(1)
    return middle + jnp.matmul(modes, f.left.T, precision=lax.Precision.HIGHEST)


def _multiply_spectrum(x: jax.Array, response: jax.Array, n: int) -> jax.Array:
    """Multiplies the spectrum of [B, T], continued by zeros to n samples, by [n // 2 + 1]."""
    if fourier.choose(machine.current_platform(), n).by_products:
        return fourier.multiply_spectrum(x, response, n)
    return jnp.fft.irfft(jnp.fft.rfft(x, n=n) * response[None, :], n=n)[:, : x.shape[-1]]


def resample_to_count(x: jax.Array, num_samples: int) -> jax.Array:
    """Resamples by the Fourier method: float32 [B, T] to [B, num_samples]."""
    before, after = x.shape[-1], num_samples
    if after == before:
        return x
    shorter = min(before, after)
    # Apart from the transform, so that a flat signal stays flat to the last digit.
    mean = x.mean(axis=-1, keepdims=True)
    if fourier.choose(machine.current_platform(), before, after).by_products:
        return fourier.resample(x - mean, after) + mean
    spectrum = jnp.fft.rfft(x - mean)[:, : shorter // 2 + 1]
    if shorter % 2 == 0:
        # The bin at half the lower rate stands for a positive and a negative frequency.
        half = 0.5 if after > before else 2.0
        spectrum = spectrum.at[:, -1].multiply(half)
    return jnp.fft.irfft(spectrum, n=after) * (after / before) + mean


def zscore(x: jax.Array) -> jax.Array:
    """(x - mean) / (population standard deviation + 1e-8) over time: float32 [B, T]."""
    x = x - x.mean(axis=-1, keepdims=True)
    # Once more: what rounding leaves of a flat signal must not be scaled up to noise.
    x = x - x.mean(axis=-1, keepdims=True)
    std = jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True))
    return x / (std + reference.STD_FLOOR)
