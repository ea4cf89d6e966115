"""A view is a pure function of an example's key and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from clef_jax import signal
from clef_jax.machine import use_platform
from clef_jax.signal import device, noise, view
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.signal.augment_config import AugmentConfig

NUM_SAMPLES = 1000
FILTER = device.make_bandpass(NUM_SAMPLES, 500.0)
BANK = noise.load_noise(num_seconds=20)


def batch(number=16):
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((number, NUM_SAMPLES)).cumsum(axis=1) * 20
    adc = walk.astype(np.int16)
    adc[2, 100:150] = MISSING_ADC
    adc[3] = MISSING_ADC
    adc[5] = 137
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(7), jnp.arange(number))
    gain, baseline = rng.uniform(200, 1000, number), rng.integers(-9, 9, number)
    lead = jnp.arange(number) % 12
    return keys, jnp.asarray(adc), jnp.asarray(gain, jnp.float32), jnp.asarray(baseline), lead


def run(*arrays, config=AugmentConfig.PAPER):
    return view.make_view(*arrays, filter=FILTER, noise=BANK, config=config)


def test_without_augmentation_a_view_is_the_reference_chain():
    _, adc, gain, baseline, _ = (np.asarray(x) for x in (None, *batch()[1:]))
    millivolts = (adc.astype(float) - baseline[:, None]) / gain[:, None]
    missing = adc == MISSING_ADC
    filled = signal.fill_gaps(np.where(missing, np.nan, millivolts))
    want = signal.zscore(signal.bandpass(filled, 500))
    got = run(*batch(), config=AugmentConfig.OFF)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=2e-5)
    np.testing.assert_array_equal(got[3], 0)
    np.testing.assert_allclose(got[5], 0, atol=1e-4)


def test_views_are_normalised():
    views = np.asarray(run(*batch()))
    assert views.shape == (16, NUM_SAMPLES)
    some = ~np.isin(np.arange(16), [3, 5])  # not the missing and the flat one
    np.testing.assert_allclose(views[some].std(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(views[some].mean(axis=1), 0, atol=1e-5)


def test_the_key_decides_and_not_the_place_in_the_batch():
    arrays = batch()
    whole = np.asarray(run(*arrays))
    np.testing.assert_array_equal(whole, run(*arrays))
    order = np.random.default_rng(1).permutation(16)
    np.testing.assert_allclose(run(*(x[order] for x in arrays)), whole[order], atol=2e-6)
    np.testing.assert_allclose(run(*(x[4:8] for x in arrays)), whole[4:8], atol=2e-6)
    other_keys = jax.random.split(jax.random.key(8), 16)
    assert np.abs(run(other_keys, *arrays[1:]) - whole).max() > 0.1


def test_tracing_into_a_larger_program_changes_nothing():
    arrays = batch()
    whole = np.asarray(run(*arrays))
    np.testing.assert_allclose(jax.jit(lambda *x: run(*x) * 1.0)(*arrays), whole, atol=2e-6)
    with jax.disable_jit():
        np.testing.assert_allclose(run(*arrays), whole, atol=2e-5)


@pytest.mark.parametrize("mapped", [False, True])
def test_dividing_the_batch_over_devices_changes_nothing(mapped):
    arrays = batch()
    whole = np.asarray(run(*arrays))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    step = run
    if mapped:
        step = jax.shard_map(run, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    sharded = jax.device_put(arrays, NamedSharding(mesh, P("data")))
    np.testing.assert_allclose(jax.jit(step)(*sharded), whole, atol=2e-6)


def test_noise_at_another_rate_is_refused():
    bank = noise.load_noise(sample_rate_hz=250.0, num_seconds=20)
    with refuses("500.0 Hz", "250.0 Hz", error=ValueError):
        view.make_view(*batch(), filter=FILTER, noise=bank, config=AugmentConfig())


def test_a_view_for_a_tpu_is_the_same_but_for_rounding():
    want = run(*batch())
    with use_platform("tpu"):
        got = run(*batch())
        program = str(jax.make_jaxpr(lambda *x: run(*x))(*batch()))
    np.testing.assert_allclose(got, want, atol=2e-5)
    assert " fft[" not in program, "what was traced for the CPU must not serve the TPU"


def test_rows_of_another_rate_are_resampled_before_the_filter():
    keys, adc, gain, baseline, lead = batch()
    short = 600  # 2 s at 300 Hz
    mixed = np.array(adc)
    mixed[::2, short:] = MISSING_ADC
    length = jnp.asarray(np.arange(16) % 2, jnp.int32)
    got = view.make_view(
        keys,
        jnp.asarray(mixed),
        gain,
        baseline,
        lead,
        filter=FILTER,
        noise=BANK,
        config=AugmentConfig.OFF,
        stored_length=length,
        stored_samples=(short, NUM_SAMPLES),
    )
    np.testing.assert_allclose(got[1::2], run(*batch(), config=AugmentConfig.OFF)[1::2], atol=1e-6)
    millivolts = (mixed.astype(float) - np.asarray(baseline)[:, None]) / np.asarray(gain)[:, None]
    filled = signal.fill_gaps(np.where(mixed == MISSING_ADC, np.nan, millivolts)[::2, :short])
    want = signal.zscore(signal.bandpass(signal.resample(filled, 300, 500), 500))
    some = [0, 3, 4, 5, 6, 7]  # not the one with a gap, where float32 interpolates otherwise
    np.testing.assert_allclose(np.asarray(got[::2])[some], want[some], atol=1e-4)
