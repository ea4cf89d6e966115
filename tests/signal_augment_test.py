import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax import leads
from clef_jax.machine import use_platform
from clef_jax.signal import augment, noise
from clef_jax.signal.augment_config import AugmentConfig

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "signal_public.npz")
RUN = jax.jit(augment.view, static_argnames="config")
ALWAYS_NOISE = AugmentConfig(noise_probability=1.0, mask_probability=0.0)
ALWAYS_MASK = AugmentConfig(noise_probability=0.0, mask_probability=1.0)


def keys(number, seed=0):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(number))


def bank_of(num_samples, seed=0):
    rng = np.random.default_rng(seed)
    recorded = rng.standard_normal((4, 15, num_samples)).cumsum(axis=2)
    return noise.NoiseBank(noise_mv=jnp.asarray(recorded, jnp.float32), sample_rate_hz=500.0)


def labelled_bank(num_samples=400):
    """Noise that identifies its kind and row: sines of distinct integer frequencies."""
    cycles = 1 + np.arange(4 * 15).reshape(4, 15, 1)
    recorded = np.sin(2 * np.pi * cycles * np.arange(num_samples) / num_samples)
    return noise.NoiseBank(noise_mv=jnp.asarray(recorded, jnp.float32), sample_rate_hz=500.0)


def reference_matrices():
    """The matrices that contain the reference's golden windows."""
    rng = np.random.default_rng(int(GOLDEN["noise/seed"]))
    made = []
    for i in range(4):
        walk = np.cumsum(rng.standard_normal((15, 6000)), axis=1) * (0.2 if i == 2 else 0.05)
        made.append(walk + 0.1 * rng.standard_normal((15, 6000)))
    made[0][14] = 1.0
    return made


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_noise_is_scaled_as_in_the_reference_but_for_its_mean(kind):
    start = int(GOLDEN[f"noise_{kind}/start"])
    window = reference_matrices()[kind - 1][[0, 1, 14], start : start + 1000]
    want = GOLDEN[f"noise_{kind}/rows"]
    got = jax.vmap(lambda x: augment.scale_noise(x, 0.1))(jnp.asarray(window, jnp.float32))
    np.testing.assert_allclose(got, want - want.mean(axis=1, keepdims=True), atol=2e-6)


def test_a_channel_that_recorded_nothing_adds_nothing():
    for constant in (0.0, 1.0, -0.1, 1234.567):
        np.testing.assert_array_equal(augment.scale_noise(jnp.full(1000, constant), 0.1), 0)


@pytest.mark.parametrize("i", range(4))
def test_the_length_of_a_mask_is_the_reference_s(i):
    length = augment.mask_length(1000, jnp.asarray(GOLDEN["mask/ratio"][i], jnp.float32))
    assert length == GOLDEN["mask/length"][i]


def test_a_mask_is_one_run_of_zeros():
    masked = np.asarray(augment.mask_run(jnp.ones(10), jnp.asarray(7), jnp.asarray(3)))
    np.testing.assert_array_equal(masked, [1] * 7 + [0] * 3)


def test_noise_has_a_tenth_of_a_millivolt_and_the_bank_is_never_written():
    bank = bank_of(6000)
    before = np.array(bank.noise_mv)
    added = RUN(keys(64), jnp.zeros((64, 1000)), jnp.arange(64) % 12, bank, ALWAYS_NOISE)
    np.testing.assert_allclose(added.std(axis=1), 0.1, rtol=1e-4)
    np.testing.assert_allclose(added.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_array_equal(bank.noise_mv, before)


def test_the_noise_is_that_of_the_signal_s_own_lead():
    number = 240
    lead = np.arange(number) % 12
    bank = labelled_bank()
    added = RUN(keys(number), jnp.zeros((number, 400)), jnp.asarray(lead), bank, ALWAYS_NOISE)
    cycles = np.abs(np.fft.rfft(np.asarray(added), axis=1)).argmax(axis=1)
    kind, row = np.divmod(cycles - 1, 15)
    assert set(kind) == {0, 1, 2, 3}
    assert [noise.ROWS[i] for i in row] == [leads.STANDARD_12[i] for i in lead]


def test_five_sorts_are_equally_likely_and_a_fifth_is_masked():
    number = 4000
    ones = jnp.ones((number, 400))
    changed = np.asarray(
        RUN(keys(number), ones, jnp.zeros(number, int), labelled_bank(), AugmentConfig())
    )
    masked = (changed == 0).sum(axis=1) >= 40
    assert masked.mean() == pytest.approx(0.2, abs=0.025)
    difference = changed[~masked] - 1
    untouched = np.abs(difference).max(axis=1) == 0
    cycles = np.abs(np.fft.rfft(difference[~untouched], axis=1)).argmax(axis=1)
    shares = np.bincount((cycles - 1) // 15, minlength=4) / len(difference)
    np.testing.assert_allclose([untouched.mean(), *shares], 0.2, atol=0.03)


def test_masks_lie_anywhere_and_cover_a_tenth_to_three_tenths():
    number, num_samples = 3000, 200
    ones = jnp.ones((number, num_samples))
    bank = bank_of(300)
    masked = np.asarray(RUN(keys(number), ones, jnp.zeros(number, int), bank, ALWAYS_MASK)) == 0
    length = masked.sum(axis=1)
    assert length.min() == 20
    assert length.max() in (58, 59, 60)
    assert length.mean() == pytest.approx(0.2 * num_samples, abs=0.7)
    starts = masked.argmax(axis=1)
    ends = num_samples - masked[:, ::-1].argmax(axis=1)
    np.testing.assert_array_equal(ends - starts, length)
    assert starts.min() == 0
    assert ends.max() == num_samples


@pytest.mark.parametrize("recorded", [300, 999, 1000, 1001])
def test_noise_of_any_length_covers_the_window(recorded):
    bank = bank_of(recorded)
    added = RUN(keys(16), jnp.zeros((16, 1000)), jnp.zeros(16, int), bank, ALWAYS_NOISE)
    np.testing.assert_allclose(added.std(axis=1), 0.1, rtol=1e-4)
    if recorded < 1000:
        again = added[:, recorded:]
        np.testing.assert_allclose(added[:, : 1000 - recorded], again, atol=1e-6)


def test_windows_begin_everywhere():
    ramp = np.broadcast_to(np.arange(12.0), (4, 15, 12)) ** 2
    bank = noise.NoiseBank(noise_mv=jnp.asarray(ramp, jnp.float32), sample_rate_hz=500.0)
    added = RUN(keys(400), jnp.zeros((400, 10)), jnp.zeros(400, int), bank, ALWAYS_NOISE)
    assert len(np.unique(np.round(np.asarray(added), 5), axis=0)) == 3


def test_off_changes_nothing():
    x = jax.random.normal(jax.random.key(3), (8, 500))
    got = RUN(keys(8), x, jnp.arange(8), bank_of(600), AugmentConfig.OFF)
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("number", [3, 16, 20])
def test_a_tpu_cuts_the_same_windows(number):
    rng = np.random.default_rng(0)
    bank = bank_of(300).noise_mv
    kind, row = rng.integers(0, 4, number), rng.integers(0, 15, number)
    start = np.concatenate([[0, 200], rng.integers(0, 201, number - 2)])
    found = {}
    for platform in ("cpu", "tpu"):
        with use_platform(platform):
            places = (jnp.asarray(values) for values in (kind, row, start))
            found[platform] = augment.windows(bank, *places, num_samples=100)
    want = [bank[k, r, s : s + 100] for k, r, s in zip(kind, row, start, strict=True)]
    np.testing.assert_array_equal(found["cpu"], want)
    np.testing.assert_array_equal(found["tpu"], want)
