"""Stored samples become millivolts, and a missing sample becomes NaN."""

import numpy as np
import pytest

from clef_jax.signal import adc

SAMPLES = np.array([[0, 100, adc.MISSING_ADC], [adc.RAIL_ADC, -adc.RAIL_ADC, 50]], np.int16)


def test_the_mark_is_the_one_value_below_the_rail():
    info = np.iinfo(np.int16)
    assert (info.min, info.max) == (adc.MISSING_ADC, adc.RAIL_ADC)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_lead_has_its_own_gain_and_baseline(dtype):
    signal_mv = adc.to_mv(SAMPLES, np.array([200, 50.0]), np.array([-100, 50]), dtype)
    assert signal_mv.dtype == dtype
    want = [[0.5, 1, np.nan], [32717 / 50, -32817 / 50, 0]]
    np.testing.assert_allclose(signal_mv, want, rtol=np.finfo(dtype).eps)


def test_a_scalar_gain_and_baseline_are_those_of_all_leads():
    signal_mv = adc.to_mv(SAMPLES, 100, 50, np.float64)
    np.testing.assert_array_equal(signal_mv, [[-0.5, 0.5, np.nan], [327.17, -328.17, 0]])
    np.testing.assert_array_equal(adc.to_mv(SAMPLES[1], 100, 50, np.float64), signal_mv[1])


def test_leading_axes_are_kept():
    samples = np.stack([SAMPLES, SAMPLES[::-1]])
    gain_per_mv, baseline = np.array([[200, 50], [10, 5.0]]), np.array([[1, 2], [3, 4]])
    signal_mv = adc.to_mv(samples, gain_per_mv, baseline)
    assert signal_mv.shape == (2, 2, 3)
    for number in range(2):
        want = adc.to_mv(samples[number], gain_per_mv[number], baseline[number])
        np.testing.assert_array_equal(signal_mv[number], want)


def test_without_a_dtype_every_operation_is_in_single_precision():
    gain_per_mv, baseline = np.array([4880.5, 33.3]), np.array([1 << 24, 7])
    offset, scale = baseline[:, None].astype(np.float32), gain_per_mv[:, None].astype(np.float32)
    want = (SAMPLES.astype(np.float32) - offset) / scale
    got = adc.to_mv(SAMPLES, gain_per_mv, baseline)
    np.testing.assert_array_equal(got, np.where(SAMPLES == adc.MISSING_ADC, np.nan, want))


def test_no_sample_is_read_from_a_mark():
    assert np.isnan(adc.to_mv(np.full((2, 4), adc.MISSING_ADC, np.int16), 200, 0)).all()
