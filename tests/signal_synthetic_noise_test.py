import numpy as np
import pytest
import scipy.signal
from culprits import refuses

from clef_jax.signal import noise, synthetic_noise

RATE_HZ = 250.0


@pytest.fixture(scope="module")
def kinds():
    return synthetic_noise.generate(RATE_HZ, 300, seed=0)


def share_of_power(recording, low_hz, high_hz):
    frequency_hz, power = scipy.signal.welch(recording, RATE_HZ, nperseg=8192, detrend=False)
    inside = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
    return power[..., inside].sum() / power.sum()


def test_every_kind_has_every_lead_and_a_sensible_size(kinds):
    assert set(kinds) == set(noise.KINDS)
    for recording in kinds.values():
        assert recording.shape == (15, 75000)
        assert np.isfinite(recording).all()
        assert ((recording.std(axis=1) > 0.05) & (recording.std(axis=1) < 0.3)).all()


def test_the_rows_obey_einthoven_wilson_and_goldberger(kinds):
    for recording in kinds.values():
        row = dict(zip(noise.ROWS, recording, strict=True))
        np.testing.assert_allclose(row["II"], row["I"] + row["III"], atol=1e-12)
        np.testing.assert_allclose(row["aVR"] + row["aVL"] + row["aVF"], 0, atol=1e-12)
        np.testing.assert_allclose(row["aVF"], (row["II"] + row["III"]) / 2, atol=1e-12)


def test_each_kind_has_its_band(kinds):
    assert share_of_power(kinds["baseline"], 0, 1) > 0.97
    assert share_of_power(kinds["motion"], 1, 20) > 0.75
    assert share_of_power(kinds["motion"], 0, 0.5) < 0.05
    assert 0.15 < share_of_power(kinds["electrode"], 1, 10) < 0.6
    assert share_of_power(kinds["electrode"], 0, 1) > 0.3


def test_motion_comes_in_bursts(kinds):
    seconds = kinds["motion"].reshape(15, -1, int(RATE_HZ)).std(axis=2)
    quiet, loud = np.quantile(seconds, [0.1, 0.9])
    assert loud > 2.5 * quiet
    # Steady noise of this band varies by some 16 % from second to second.
    assert seconds.std() > 0.4 * seconds.mean()


def test_the_seed_decides_everything(kinds):
    again = synthetic_noise.generate(RATE_HZ, 300, seed=0)
    other = synthetic_noise.generate(RATE_HZ, 300, seed=1)
    for name, recording in kinds.items():
        np.testing.assert_array_equal(recording, again[name])
        assert np.abs(recording - other[name]).max() > 0.01


@pytest.mark.parametrize(("rate_hz", "seconds"), [(40, 60), (500, 5)])
def test_noise_that_would_not_fit_is_refused(rate_hz, seconds):
    with refuses(f"{rate_hz} Hz", f"{seconds} s", error=ValueError):
        synthetic_noise.generate(rate_hz, seconds, seed=0)
