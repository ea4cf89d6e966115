"""Adds random noise to filtered signals and masks them, as a function of one key per example.

This differs from the public PyTorch reference on purpose: stored noise is never rescaled in place,
the noise is that of the signal's own lead in any spelling, and the mean of a noise window is
subtracted, because it would cause a step of many times 0.1 mV at the ends of a masked run.

Shapes: B batch, T time (samples), N samples of a noise recording.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from clef_jax import leads, machine
from clef_jax.signal import noise as noise_lib
from clef_jax.signal.augment_config import AugmentConfig

_WINDOWS_PER_ITERATION = 8
"""Noise windows that a TPU extracts in one iteration of a loop."""

_ROW_OF_LEAD = np.array([noise_lib.ROWS.index(name) for name in leads.STANDARD_12], np.int32)


def view(
    key: jax.Array,
    signal_mv: jax.Array,
    lead: jax.Array,
    noise: noise_lib.NoiseBank,
    config: AugmentConfig,
) -> jax.Array:
    """Adds noise to filtered signals and then masks them.

    Args:
        key: [B] random keys; the result for an example depends on its own key only.
        signal_mv: float32 [B, T], filtered and not yet normalised, mV.
        lead: int [B], index into `leads.STANDARD_12`.
        noise: noise recordings at the sampling rate of the signals.
        config: settings of the augmentation, static under jit.

    Returns:
        The augmented signals in mV, float32 [B, T].
    """
    row = jnp.asarray(_ROW_OF_LEAD)[lead]
    noise_key, mask_key = jnp.unstack(jax.vmap(jax.random.split)(key), axis=1)
    if config.noise_probability > 0:
        signal_mv = _with_noise(noise_key, signal_mv, row, noise.noise_mv, config)
    if config.mask_probability > 0:
        mask = functools.partial(_with_mask, config=config)
        signal_mv = jax.vmap(mask)(mask_key, signal_mv)
    return signal_mv


def _with_noise(
    key: jax.Array, signal_mv: jax.Array, row: jax.Array, noise_mv: jax.Array, config: AugmentConfig
) -> jax.Array:
    """Adds noise to randomly chosen signals of [B, T]."""
    num_samples, recorded = signal_mv.shape[1], noise_mv.shape[-1]
    last = recorded - num_samples if num_samples <= recorded else recorded - 1

    def sample(key: jax.Array) -> tuple[jax.Array, ...]:
        apply_key, kind_key, start_key = jax.random.split(key, 3)
        kind = jax.random.randint(kind_key, (), 0, len(noise_lib.KINDS))
        start = jax.random.randint(start_key, (), 0, last + 1)
        return jax.random.uniform(apply_key) < config.noise_probability, kind, start

    applies, kind, start = jax.vmap(sample)(key)
    window = windows(noise_mv, kind, row, start, num_samples)
    noisy = signal_mv + jax.vmap(lambda x: scale_noise(x, config.noise_std_mv))(window)
    return jnp.where(applies[:, None], noisy, signal_mv)


def _with_mask(key: jax.Array, signal_mv: jax.Array, config: AugmentConfig) -> jax.Array:
    """Sets a run of a signal [T] to 0 mV, with the probability of the settings."""
    apply_key, fraction_key, start_key = jax.random.split(key, 3)
    limits = (config.mask_fraction_min, config.mask_fraction_max)
    fraction = jax.random.uniform(fraction_key, minval=limits[0], maxval=limits[1])
    length = mask_length(signal_mv.shape[0], fraction)
    start = jax.random.randint(start_key, (), 0, signal_mv.shape[0] - length + 1)
    applies = jax.random.uniform(apply_key) < config.mask_probability
    return jnp.where(applies, mask_run(signal_mv, start, length), signal_mv)


def windows(
    noise_mv: jax.Array, kind: jax.Array, row: jax.Array, start: jax.Array, num_samples: int
) -> jax.Array:
    """Extracts windows of noise recordings, which are repeated if they are shorter.

    Args:
        noise_mv: float32 [K, R, N], recordings by kind and row.
        kind: int [B], index of the kind.
        row: int [B], index of the row.
        start: int [B], first sample.
        num_samples: number of samples T of a window.

    Returns:
        The windows, float32 [B, T].
    """
    num_rows, recorded = noise_mv.shape[1:]
    if num_samples > recorded:
        index = (start[:, None] + jnp.arange(num_samples)[None, :]) % recorded
        return noise_mv[kind[:, None], row[:, None], index]
    if machine.current_platform() != "tpu":
        shape = (1, 1, num_samples)
        extract = jax.vmap(lambda *index: lax.dynamic_slice(noise_mv, index, shape)[0, 0])
        return extract(kind, row, start)
    # XLA:TPU extracts windows sequentially, and its time depends on the number of operations.
    # Several windows of one long row per iteration take a sixth of the time.
    first = (kind * num_rows + row) * recorded + start
    flat = noise_mv.reshape(-1)
    count = math.gcd(len(first), _WINDOWS_PER_ITERATION)

    def extract_some(first: jax.Array) -> jax.Array:
        starts = [first[i] for i in range(count)]
        return jnp.stack([lax.dynamic_slice(flat, (s,), (num_samples,)) for s in starts])

    return lax.map(extract_some, first.reshape(-1, count)).reshape(-1, num_samples)


def scale_noise(window_mv: jax.Array, std_mv: float) -> jax.Array:
    """Returns a noise window [T] in mV with mean 0 and the given population standard deviation.

    A constant window, from a channel that recorded nothing, becomes zeros.
    """
    centred = window_mv - window_mv.mean()
    std = jnp.sqrt(jnp.mean(centred * centred))
    # Rounding gives a constant a tiny standard deviation, which must not be scaled up to noise.
    constant = std <= 1e-6 * jnp.max(jnp.abs(window_mv))
    return jnp.where(constant, 0, centred * (std_mv / jnp.where(constant, 1, std)))


def mask_length(num_samples: int, fraction: jax.Array) -> jax.Array:
    """Returns the number of samples of a masked fraction of a window, rounded down."""
    return jnp.floor(num_samples * fraction).astype(jnp.int32)


def mask_run(signal_mv: jax.Array, start: jax.Array, length: jax.Array) -> jax.Array:
    """Sets `length` samples from index `start` of a signal [T] to 0 mV."""
    time = lax.iota(jnp.int32, signal_mv.shape[0])
    return jnp.where((time >= start) & (time < start + length), 0, signal_mv)
