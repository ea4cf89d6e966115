"""Times and numbers of the patients' visits have the intended distributions."""

import datetime

import numpy as np
import pytest

from clef_jax.simulation import patient, visit
from clef_jax.simulation.coefficient import RECORD_KEEPING

NUM_PATIENTS = 1500
MEAN_RECORDS = 2.2


@pytest.fixture(scope="module")
def people():
    return [patient.sample(0, index) for index in range(NUM_PATIENTS)]


@pytest.fixture(scope="module")
def studies(people):
    return [visit.sample(0, person, MEAN_RECORDS) for person in people]


def assert_share(flags, expected):
    """Within four standard deviations of a binomial law."""
    flags = np.asarray(flags, float)
    spread = np.sqrt(expected * (1 - expected) / len(flags))
    assert flags.mean() == pytest.approx(expected, abs=4 * spread)


def test_studies_per_patient(studies):
    counts = np.array([len(s) for s in studies])
    assert_share(counts == 1, RECORD_KEEPING.single_visit_fraction)
    assert counts.mean() == pytest.approx(MEAN_RECORDS, abs=0.15)
    for visits in studies:
        times = [v.time for v in visits]
        assert times == sorted(set(times))
        assert datetime.datetime(2110, 1, 1) <= times[0]
        assert times[-1] < datetime.datetime(2201, 1, 1)
    ids = [v.study_id for visits in studies for v in visits]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("mean", [1.0, 1.4, 3.0])
def test_mean_number_of_studies_is_a_setting(people, mean):
    counts = [len(visit.sample(0, person, mean)) for person in people]
    assert np.mean(counts) == pytest.approx(mean, rel=0.08)
