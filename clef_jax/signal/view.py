"""One augmented view of a batch of stored samples, in one compiled function.

Shapes: B batch, T time (samples).
"""

import functools

import jax

from clef_jax import machine
from clef_jax.signal import augment, device
from clef_jax.signal.noise import NoiseBank


def make_view(
    key: jax.Array,
    adc: jax.Array,
    gain_per_mv: jax.Array,
    baseline: jax.Array,
    lead: jax.Array,
    *,
    filter: device.Bandpass,
    noise: NoiseBank,
    config: augment.AugmentConfig,
) -> jax.Array:
    """Scales, fills gaps, filters, augments and normalises: int16 [B, T] to float32 [B, T].

    Args:
        key: [B] random keys; an example depends on its own key and samples only.
        adc: int16 [B, T]; `MISSING_ADC` is a missing sample.
        gain_per_mv, baseline: [B], ADC units per millivolt and ADC value of 0 mV.
        lead: int [B], index into `leads.STANDARD_12`.
        filter: made for windows of T samples.
        noise: at the filter's sampling rate.
        config: of the augmentation; its fields are static.

    Returns:
        float32 [B, T] with mean 0 and standard deviation 1; a flat signal is zeros.

    Raises:
        ValueError: filter, noise and samples do not fit each other.
    """
    if filter.sample_rate_hz != noise.sample_rate_hz:
        raise ValueError(
            f"The signals have {filter.sample_rate_hz} Hz and the noise {noise.sample_rate_hz} Hz; "
            "load the noise at the sampling rate of the signals."
        )
    samples = (adc, gain_per_mv, baseline)
    # An argument, or what was traced for one platform would serve the others as well.
    return _view(
        key, *samples, lead, filter, noise, config=config, platform=machine.current_platform()
    )


@functools.partial(jax.jit, static_argnames=("config", "platform"))
def _view(
    key: jax.Array,
    adc: jax.Array,
    gain_per_mv: jax.Array,
    baseline: jax.Array,
    lead: jax.Array,
    filter: device.Bandpass,
    noise: NoiseBank,
    *,
    config: augment.AugmentConfig,
    platform: str,
) -> jax.Array:
    with machine.use_platform(platform), jax.named_scope("make_view"):
        signal_mv = device.from_adc(adc, gain_per_mv, baseline)
        signal_mv = device.bandpass(signal_mv, filter)
        return device.zscore(augment.view(key, signal_mv, lead, noise, config))
