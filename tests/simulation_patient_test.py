"""Patients have the intended distributions, and depend only on the seed and their number."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.simulation import patient
from clef_jax.simulation.coefficient import Trend

NUM_PATIENTS = 1500


@pytest.fixture(scope="module")
def people():
    return [patient.sample(0, index) for index in range(NUM_PATIENTS)]


def correlation(x, y):
    return np.corrcoef(np.asarray(x, float), np.asarray(y, float))[0, 1]


def test_patients_are_functions_of_seed_and_index(people):
    assert patient.sample(0, 7) == people[7]
    assert patient.sample(1, 7) != people[7]
    ids = [person.subject_id for person in people]
    assert ids == sorted(set(ids))
    last = patient.sample(0, patient.MAX_PATIENTS - 1)
    assert len(str(last.subject_id)) == 8
    assert str(last.subject_id).startswith("1")
    with refuses(patient.MAX_PATIENTS, error=ValueError):
        patient.sample(0, patient.MAX_PATIENTS)


def test_clinical_values_are_plausible_and_related(people):
    age = [person.anchor_age_years for person in people]
    sbp = [person.sbp_mmhg for person in people]
    assert min(age) >= 18
    assert 55 < np.mean(age) < 67
    assert 120 < np.mean(sbp) < 135
    assert 0.2 < correlation(age, sbp) < 0.7
    hdl = np.array([person.hdl_mg_dl for person in people])
    male = np.array([person.male for person in people])
    assert 6 < hdl[~male].mean() - hdl[male].mean() < 14
    assert all(p.hdl_mg_dl < p.total_cholesterol_mg_dl for p in people)
    old = np.array(age) > 70
    fibrillation = np.array([person.fibrillation for person in people])
    assert fibrillation[old].mean() > 2 * fibrillation[~old].mean()


def test_every_trait_of_a_patient_is_known_to_every_trend(people):
    names = set(people[0].traits())
    assert names <= set(Trend.__dataclass_fields__)
    assert Trend(base=1.0, decade=2.0).expect({"decade": 1.5}) == 4.0
    assert Trend(base=0.0).probability({}) == 0.5
