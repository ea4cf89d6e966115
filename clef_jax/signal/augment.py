"""Random noise and masking of filtered signals, a pure function of one key per example.

Differs from the public PyTorch reference on purpose: stored noise is never rescaled in place, the
row is that of the signal's own lead whatever its spelling, and the noise window loses its mean,
which would otherwise become a step of many times 0.1 mV at the ends of a masked run.

Shapes: B batch, T time (samples), N samples of a noise recording.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from clef_jax import leads
from clef_jax.signal import noise as noise_lib

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
    return jax.vmap(lambda k, x, r: _one(k, x, r, noise.noise_mv, config))(key, signal_mv, row)


def _one(
    key: jax.Array, signal_mv: jax.Array, row: jax.Array, noise_mv: jax.Array, config: AugmentConfig
) -> jax.Array:
    noise_key, mask_key = jax.random.split(key)
    if config.noise_probability > 0:
        chosen, kind_key, start_key = jax.random.split(noise_key, 3)
        kind = jax.random.randint(kind_key, (), 0, len(noise_lib.KINDS))
        window = _window(start_key, noise_mv, kind, row, signal_mv.shape[0])
        noisy = signal_mv + scale_noise(window, config.noise_std_mv)
        happens = jax.random.uniform(chosen) < config.noise_probability
        signal_mv = jnp.where(happens, noisy, signal_mv)
    if config.mask_probability > 0:
        chosen, fraction_key, start_key = jax.random.split(mask_key, 3)
        limits = (config.mask_fraction_min, config.mask_fraction_max)
        fraction = jax.random.uniform(fraction_key, minval=limits[0], maxval=limits[1])
        length = mask_length(signal_mv.shape[0], fraction)
        start = jax.random.randint(start_key, (), 0, signal_mv.shape[0] - length + 1)
        happens = jax.random.uniform(chosen) < config.mask_probability
        signal_mv = jnp.where(happens, mask_run(signal_mv, start, length), signal_mv)
    return signal_mv


def _window(
    key: jax.Array, noise_mv: jax.Array, kind: jax.Array, row: jax.Array, num_samples: int
) -> jax.Array:
    """A random window [T] of one recording, which is repeated where it is shorter than T."""
    recorded = noise_mv.shape[-1]
    if num_samples <= recorded:
        start = jax.random.randint(key, (), 0, recorded - num_samples + 1)
        return lax.dynamic_slice(noise_mv, (kind, row, start), (1, 1, num_samples))[0, 0]
    start = jax.random.randint(key, (), 0, recorded)
    return noise_mv[kind, row, (start + jnp.arange(num_samples)) % recorded]


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
