"""Planted faults occur at the rates of the source, and the input stays unchanged."""

import numpy as np
import pytest

from clef_jax.simulation import defect, patient, visit

NUM_PATIENTS = 1500


def assert_share(flags, expected):
    """Within four standard deviations of a binomial law."""
    flags = np.asarray(flags, float)
    spread = np.sqrt(expected * (1 - expected) / len(flags))
    assert flags.mean() == pytest.approx(expected, abs=4 * spread)


def test_defects_come_at_the_rates_of_the_source():
    people = [patient.sample(0, index) for index in range(NUM_PATIENTS)]
    studies = [visit.sample(0, person, 2.2) for person in people]
    adc = np.arange(12 * 5000, dtype=np.int16).reshape(12, 5000) % 300 + 1
    before = adc.copy()
    multiplier = 20.0
    kinds = []
    for person, visits in zip(people, studies, strict=True):
        _, planted = defect.plant(0, person, visits[0], adc, rate_multiplier=multiplier)
        kinds.append(planted.kind if planted else "none")
    np.testing.assert_array_equal(adc, before)
    for kind, rate in defect.RATES.items():
        assert_share([k == kind for k in kinds], rate * multiplier)
    none = [
        defect.plant(0, p, s[0], adc, rate_multiplier=0.0)[1]
        for p, s in zip(people, studies, strict=True)
    ]
    assert none == [None] * len(people)
