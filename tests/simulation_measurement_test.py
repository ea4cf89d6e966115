"""The ECG machine's measurements match the recordings, with the intended failures."""

import numpy as np
import pytest

from clef_jax.simulation import heart, measurement, patient, rhythm, visit

NUM_PATIENTS = 1500


def correlation(x, y):
    return np.corrcoef(np.asarray(x, float), np.asarray(y, float))[0, 1]


def assert_share(flags, expected):
    """Within four standard deviations of a binomial law."""
    flags = np.asarray(flags, float)
    spread = np.sqrt(expected * (1 - expected) / len(flags))
    assert flags.mean() == pytest.approx(expected, abs=4 * spread)


def test_measurements_are_those_of_the_heart_and_sentinels_as_in_mimic():
    people = [patient.sample(0, index) for index in range(NUM_PATIENTS)]
    studies = [visit.sample(0, person, 2.2) for person in people]
    hearts = [heart.sample(0, p, s[0]) for p, s in zip(people, studies, strict=True)]
    values, reports, sinus = [], [], []
    for person, visits, beating in zip(people, studies, hearts, strict=True):
        beats = rhythm.schedule(beating, np.random.default_rng(person.index), 10.0)
        report, row = measurement.measure(0, person, visits[0], beating, beats)
        assert len(row) == len(measurement.VALUES)
        values.append(row)
        reports.append(report)
        sinus.append(not beating.fibrillating)
    column = dict(zip(measurement.VALUES, np.array(values).T, strict=True))
    sinus = np.array(sinus)
    missing_onset = column["p_onset"] == measurement.NO_TIME
    missing_end = column["p_end"] == measurement.NO_TIME
    assert missing_onset[~sinus].all()
    assert_share(missing_onset, 123_434 / 800_035)
    assert_share(missing_end, 230_323 / 800_035)
    assert_share(column["p_axis"] == measurement.NO_AXIS, 7_199 / 800_035)
    qrs = column["qrs_end"] - column["qrs_onset"]
    assert np.abs(qrs - [h.qrs_ms for h in hearts]).std() < 6
    rate = 60_000 / column["rr_interval"]
    assert correlation(rate, [h.heart_rate_bpm for h in hearts]) > 0.95
    normal = [h.conduction == "normal" and h.scar == "none" for h in hearts]
    axis_error = (column["qrs_axis"] - [h.axis_degrees for h in hearts])[normal]
    assert np.percentile(np.abs(axis_error), 90) < 10
    for report, beating in zip(reports, hearts, strict=True):
        assert ("fibrillation" in report[0]) == beating.fibrillating
        assert report[-1] in ("Normal ECG", "Borderline ECG", "Abnormal ECG")
        assert len(report) <= measurement.NUM_REPORTS
