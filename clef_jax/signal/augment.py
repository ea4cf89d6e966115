"""Random noise and masking of filtered signals, a pure function of one key per example.

Differs from the public PyTorch reference on purpose: stored noise is never rescaled in place, the
row is that of the signal's own lead whatever its spelling, and the noise window loses its mean,
which would otherwise become a step of many times 0.1 mV at the ends of a masked run.

Shapes: B batch, T time (samples), N samples of a noise recording.
"""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from clef_jax import leads, machine
from clef_jax.signal import noise as noise_lib

_WINDOWS_TOGETHER = 8
"""Windows of noise that a TPU cuts in one turn of a loop."""

_ROW_OF_LEAD = np.array([noise_lib.ROWS.index(name) for name in leads.STANDARD_12], np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of one view; the defaults are the paper's."""

    noise_probability: float = 0.8
    """Share of views with noise; motion, electrode, baseline and mixture are equally likely."""
    noise_std_mv: float = 0.1
    """Population standard deviation of the added noise window, in mV."""
    mask_probability: float = 0.2
    """Share of views in which one run of samples is set to 0 mV."""
    mask_fraction_min: float = 0.1
    """Least share of a view that is masked."""
    mask_fraction_max: float = 0.3
    """Largest share of a view that is masked."""

    PAPER: ClassVar["AugmentConfig"]
    """As in the paper: no noise and each kind of noise, a fifth each."""
    OFF: ClassVar["AugmentConfig"]
    """No augmentation."""

    def __post_init__(self):
        for name in ("noise_probability", "mask_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be in [0, 1].")
        if not (np.isfinite(self.noise_std_mv) and self.noise_std_mv >= 0):
            raise ValueError(f"noise_std_mv={self.noise_std_mv} must be a number of at least 0 mV.")
        if not 0 <= self.mask_fraction_min <= self.mask_fraction_max <= 1:
            raise ValueError(
                f"mask_fraction_min={self.mask_fraction_min} and mask_fraction_max="
                f"{self.mask_fraction_max} must satisfy 0 <= minimum <= maximum <= 1."
            )


AugmentConfig.PAPER = AugmentConfig()
AugmentConfig.OFF = AugmentConfig(noise_probability=0.0, mask_probability=0.0)


def view(
    key: jax.Array,
    signal_mv: jax.Array,
    lead: jax.Array,
    noise: noise_lib.NoiseBank,
    config: AugmentConfig,
) -> jax.Array:
    """Adds noise to, and then masks, filtered signals.

    Args:
        key: [B] random keys; an example depends on its own key only, wherever it is in a batch.
        signal_mv: float32 [B, T], filtered and not yet normalised, mV.
        lead: int [B], index into `leads.STANDARD_12`.
        noise: at the sampling rate of the signal.
        config: static under jit.

    Returns:
        float32 [B, T], mV.
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
    """Adds noise to some of [B, T]."""
    num_samples, recorded = signal_mv.shape[1], noise_mv.shape[-1]
    last = recorded - num_samples if num_samples <= recorded else recorded - 1

    def draw(key: jax.Array) -> tuple[jax.Array, ...]:
        chosen, kind_key, start_key = jax.random.split(key, 3)
        kind = jax.random.randint(kind_key, (), 0, len(noise_lib.KINDS))
        start = jax.random.randint(start_key, (), 0, last + 1)
        return jax.random.uniform(chosen) < config.noise_probability, kind, start

    happens, kind, start = jax.vmap(draw)(key)
    window = windows(noise_mv, kind, row, start, num_samples)
    noisy = signal_mv + jax.vmap(lambda x: scale_noise(x, config.noise_std_mv))(window)
    return jnp.where(happens[:, None], noisy, signal_mv)


def _with_mask(key: jax.Array, signal_mv: jax.Array, config: AugmentConfig) -> jax.Array:
    """Sets a run of [T] to 0 mV, sometimes."""
    chosen, fraction_key, start_key = jax.random.split(key, 3)
    limits = (config.mask_fraction_min, config.mask_fraction_max)
    fraction = jax.random.uniform(fraction_key, minval=limits[0], maxval=limits[1])
    length = mask_length(signal_mv.shape[0], fraction)
    start = jax.random.randint(start_key, (), 0, signal_mv.shape[0] - length + 1)
    happens = jax.random.uniform(chosen) < config.mask_probability
    return jnp.where(happens, mask_run(signal_mv, start, length), signal_mv)


def windows(
    noise_mv: jax.Array, kind: jax.Array, row: jax.Array, start: jax.Array, num_samples: int
) -> jax.Array:
    """Windows [B, T] of recordings [K, R, N] which are repeated where they are shorter than T.

    `kind`, `row` and `start` are int [B].
    """
    num_rows, recorded = noise_mv.shape[1:]
    if num_samples > recorded:
        place = (start[:, None] + jnp.arange(num_samples)[None, :]) % recorded
        return noise_mv[kind[:, None], row[:, None], place]
    if machine.current_platform() != "tpu":
        one = (1, 1, num_samples)
        cut = jax.vmap(lambda *at: lax.dynamic_slice(noise_mv, at, one)[0, 0])
        return cut(kind, row, start)
    # XLA:TPU takes windows one after another anyway. Several together, of one long row, cost it a
    # sixth: what counts is the number of operations.
    first = (kind * num_rows + row) * recorded + start
    flat = noise_mv.reshape(-1)
    together = math.gcd(len(first), _WINDOWS_TOGETHER)

    def some(first: jax.Array) -> jax.Array:
        places = [first[i] for i in range(together)]
        return jnp.stack([lax.dynamic_slice(flat, (at,), (num_samples,)) for at in places])

    return lax.map(some, first.reshape(-1, together)).reshape(-1, num_samples)


def scale_noise(window_mv: jax.Array, std_mv: float) -> jax.Array:
    """A copy of a noise window [T] without its mean and with the given population std, in mV.

    A constant window, a channel that recorded nothing, becomes zeros.
    """
    centred = window_mv - window_mv.mean()
    std = jnp.sqrt(jnp.mean(centred * centred))
    # Rounding leaves a constant with a tiny deviation that must not be blown up to noise.
    constant = std <= 1e-6 * jnp.max(jnp.abs(window_mv))
    return jnp.where(constant, 0, centred * (std_mv / jnp.where(constant, 1, std)))


def mask_length(num_samples: int, fraction: jax.Array) -> jax.Array:
    """Samples that a masked share of a window covers: the whole part of their product."""
    return jnp.floor(num_samples * fraction).astype(jnp.int32)


def mask_run(signal_mv: jax.Array, start: jax.Array, length: jax.Array) -> jax.Array:
    """Sets `length` samples from `start` on to 0 mV; [T] to [T]."""
    time = lax.iota(jnp.int32, signal_mv.shape[0])
    return jnp.where((time >= start) & (time < start + length), 0, signal_mv)
