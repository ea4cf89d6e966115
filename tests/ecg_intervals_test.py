"""Intervals measured in simulated ECGs, whose true values are known."""

import benchmark_modules
import numpy as np
import pytest

from clef_jax.simulation import heart, patient, recording, visit

ecg_intervals = benchmark_modules.load("ecg_intervals")


@pytest.fixture(scope="module")
def measured():
    rows = []
    for number in range(24):
        person = patient.sample(0, number)
        study = visit.sample(0, person, 1.0)[0]
        beating = heart.sample(0, person, study)
        adc = recording.record(0, person, study, beating).adc
        intervals = ecg_intervals.measure(adc / recording.GAIN_PER_MV, recording.SAMPLE_RATE_HZ)
        rows.append((beating, intervals))
    return [(beating, x) for beating, x in rows if np.isfinite(x).all()]


def test_intervals_are_close_to_the_simulated_ones(measured):
    assert len(measured) > 20
    for name, largest_ms, median_ms in (("qrs_ms", 15, 6), ("qt_ms", 25, 8)):
        error = [getattr(x, name) - getattr(beating, name) for beating, x in measured]
        assert np.abs(error).max() < largest_ms
        assert np.median(np.abs(error)) < median_ms


@pytest.mark.parametrize("factor", [1.5, 1.9])
def test_the_next_beat_is_no_t_wave_at_high_rates(factor):
    errors = []
    for number in range(8):
        person = patient.sample(0, number)
        study = visit.sample(0, person, 1.0)[0]
        beating = heart.sample(0, person, study)
        adc = recording.record(0, person, study, beating).adc
        # The same samples at a higher rate are a faster heart with shorter intervals.
        rate_hz = factor * recording.SAMPLE_RATE_HZ
        intervals = ecg_intervals.measure(adc / recording.GAIN_PER_MV, rate_hz)
        assert intervals.rate_per_minute > 85
        errors.append(intervals.qt_ms - beating.qt_ms / factor)
    assert np.nanmax(np.abs(errors)) < 40
    assert np.isfinite(errors).mean() > 0.7


def test_the_corrected_interval_is_that_of_sixty_beats():
    assert ecg_intervals.Intervals(60, 90, 400).qtc_ms == pytest.approx(400)
    assert ecg_intervals.Intervals(120, 90, 320).qtc_ms == pytest.approx(320 * 2 ** (1 / 3))


@pytest.mark.parametrize("signal", [np.zeros((2, 5000)), np.full((12, 5000), np.nan)])
def test_a_recording_without_beats_has_no_intervals(signal):
    assert np.isnan(ecg_intervals.measure(signal, 500.0)).all()
