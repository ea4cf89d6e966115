"""Intervals hold the true value as often as they state, by patient."""

import numpy as np
import pytest

from clef_jax.answers import conformal


def test_one_recording_per_patient_is_split_conformal():
    error = np.array([[-3.0], [1.0], [-2.0], [4.0]])
    patient = np.arange(4)
    # ceil((4 + 1) * coverage)-th smallest absolute error
    for coverage, want in [(0.2, 1), (0.21, 2), (0.6, 3), (0.8, 4), (0.81, np.inf)]:
        assert conformal.half_width(error, patient, coverage)[0] == want
    assert conformal.least_patients(0.8) == 4
    assert conformal.least_patients(0.9) == 9


def test_repeated_recordings_of_a_patient_do_not_count_as_others():
    error, patient = np.array([[1.0], [2.0], [3.0], [4.0]]), np.arange(4)
    many = np.concatenate([error, np.full((96, 1), 9.0)]), np.append(patient, np.full(96, 3))
    assert conformal.half_width(*many, 0.6) == conformal.half_width(error, patient, 0.6)
    assert conformal.half_width(*many, 0.7)[0] == 9.0  # the fourth patient's, mostly


def test_new_patients_are_covered_as_stated():
    rng, reached, coverage = np.random.default_rng(0), [], 0.8
    for _ in range(300):
        spread = rng.uniform(0.5, 3, 40)
        patient = np.repeat(np.arange(40), rng.integers(1, 9, 40))
        error = rng.normal(size=len(patient)) * spread[patient]
        known, new = patient < 20, patient >= 20
        width = conformal.half_width(error[known][:, None], patient[known], coverage)
        reached.append(conformal.covered(error[new][:, None], patient[new], width)[0])
    assert coverage - 0.015 < np.mean(reached) < coverage + 0.05


@pytest.mark.parametrize(("width", "want"), [(1.5, 1 / 6), (2.5, 5 / 6), (9.0, 1.0)])
def test_coverage_is_the_mean_over_patients(width, want):
    error, patient = np.array([[1.0], [2.0], [-2.0], [3.0]]), np.array([0, 0, 1, 0])
    # A third, two thirds and all of the first patient; none or all of the second.
    assert conformal.covered(error, patient, np.array([width]))[0] == pytest.approx(want)
