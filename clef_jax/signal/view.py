"""Makes augmented views of stored samples in one compiled function.

Shapes: B batch, T time (samples).
"""

import functools

import jax

from clef_jax import machine
from clef_jax.signal import augment, device
from clef_jax.signal.augment_config import AugmentConfig
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
    config: AugmentConfig,
    stored_length: jax.Array | None = None,
    stored_samples: tuple[int, ...] = (),
) -> jax.Array:
    """Scales, fills gaps, filters, augments and normalises: int16 [B, T] to float32 [B, T].

    Rows of other lengths are resampled before they are filtered, as users' recordings are.

    Args:
        key: [B] random keys; the result for an example depends on its own key and samples only.
        adc: int16 [B, T]; `MISSING_ADC` is a missing sample.
        gain_per_mv, baseline: [B], ADC units per millivolt and ADC value of 0 mV.
        lead: int [B], index into `leads.STANDARD_12`.
        filter: band-pass for windows of T samples.
        noise: noise recordings at the filter's sampling rate.
        config: settings of the augmentation, static under jit.
        stored_length: int [B], position of each row's number of samples in `stored_samples`; `adc`
            then has the length of the longest, and shorter rows end with missing samples.
        stored_samples: the lengths, ascending; by default no row is resampled.

    Returns:
        The views, float32 [B, T], with mean 0 and standard deviation 1; zeros for a flat signal.

    Raises:
        ValueError: the lengths or sampling rates of filter, noise and samples differ.
    """
    if filter.sample_rate_hz != noise.sample_rate_hz:
        raise ValueError(
            f"The signals have {filter.sample_rate_hz} Hz but the noise {noise.sample_rate_hz} Hz; "
            "load the noise at the sampling rate of the signals."
        )
    samples = (adc, gain_per_mv, baseline)
    # The platform is an argument, so that each platform is traced separately.
    return _view(
        key,
        *samples,
        lead,
        filter,
        noise,
        stored_length,
        config=config,
        stored_samples=stored_samples,
        platform=machine.current_platform(),
    )


@functools.partial(jax.jit, static_argnames=("config", "stored_samples", "platform"))
def _view(
    key: jax.Array,
    adc: jax.Array,
    gain_per_mv: jax.Array,
    baseline: jax.Array,
    lead: jax.Array,
    filter: device.Bandpass,
    noise: NoiseBank,
    stored_length: jax.Array | None,
    *,
    config: AugmentConfig,
    stored_samples: tuple[int, ...],
    platform: str,
) -> jax.Array:
    with machine.use_platform(platform), jax.named_scope("make_view"):
        signal_mv = device.from_adc(adc, gain_per_mv, baseline)
        if stored_length is not None:
            lengths, target = stored_samples, filter.num_samples
            signal_mv = device.resample_rows(signal_mv, stored_length, lengths, target)
        signal_mv = device.bandpass(signal_mv, filter)
        return device.zscore(augment.view(key, signal_mv, lead, noise, config))
