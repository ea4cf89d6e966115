"""Parameters of the hearts contain some, but not all, information about the patients."""

import numpy as np
import pytest

from clef_jax.simulation import heart, patient, recording, visit
from clef_jax.simulation.coefficient import RECORD_KEEPING

NUM_PATIENTS = 1500
MEAN_RECORDS = 2.2


@pytest.fixture(scope="module")
def people():
    return [patient.sample(0, index) for index in range(NUM_PATIENTS)]


@pytest.fixture(scope="module")
def studies(people):
    return [visit.sample(0, person, MEAN_RECORDS) for person in people]


@pytest.fixture(scope="module")
def hearts(people, studies):
    return [heart.sample(0, p, s[0]) for p, s in zip(people, studies, strict=True)]


def assert_share(flags, expected):
    """Within four standard deviations of a binomial law."""
    flags = np.asarray(flags, float)
    spread = np.sqrt(expected * (1 - expected) / len(flags))
    assert flags.mean() == pytest.approx(expected, abs=4 * spread)


def correlation(x, y):
    return np.corrcoef(np.asarray(x, float), np.asarray(y, float))[0, 1]


def test_hearts_are_plausible(hearts):
    def values(name):
        return np.array([getattr(h, name) for h in hearts])

    normal = np.array([h.conduction == "normal" for h in hearts])
    assert 72 < values("heart_rate_bpm").mean() < 90
    assert 140 < values("pr_ms").mean() < 175
    assert 84 < values("qrs_ms")[normal].mean() < 102
    assert values("qrs_ms")[~normal].min() >= 120
    assert 405 < np.mean([h.qtc_ms for h in hearts]) < 440
    assert values("qt_ms").min() > 280
    assert values("qt_ms").max() < 560
    assert 0.03 < (~normal).mean() < 0.2


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("axis_degrees", -0.75, -0.3),
        ("respiratory_variability", -0.75, -0.3),
        ("t_angle_degrees", 0.3, 0.75),
        ("pr_ms", 0.15, 0.6),
        ("qtc_ms", 0.2, 0.7),
    ],
)
def test_age_shows_in_the_heart_but_not_perfectly(people, hearts, name, low, high):
    age = [person.anchor_age_years for person in people]
    assert low < correlation(age, [getattr(h, name) for h in hearts]) < high


def test_age_shows_in_the_recorded_signal(people, studies, hearts):
    # Lead I over lead aVF in a plain recording: the axis turns left with age.
    age, axis = [], []
    for person, visits, beating in list(zip(people, studies, hearts, strict=True))[:150]:
        adc = recording.record(0, person, visits[0], beating).adc.astype(float)
        one, avf = (adc[recording.LEADS.index(name)] for name in ("I", "aVF"))
        height = [
            np.percentile(x, 99.5) + np.percentile(x, 0.5) - 2 * np.median(x) for x in (one, avf)
        ]
        age.append(person.anchor_age_years)
        axis.append(np.arctan2(height[1], height[0]))
    assert -0.8 < correlation(age, axis) < -0.2


def test_pressure_and_disease_show_beyond_age(people, hearts):
    # Partial: what is left of voltage after a linear fit of age and sex.
    known = np.array([[p.anchor_age_years, p.male, 1.0] for p in people], float)
    sbp = np.array([p.sbp_mmhg for p in people])
    voltage = np.log([h.voltage for h in hearts])

    def rest(y):
        return y - known @ np.linalg.lstsq(known, y, rcond=None)[0]

    assert 0.1 < correlation(rest(sbp), rest(voltage)) < 0.6
    failure = np.array([p.failure for p in people])
    angle = np.array([h.t_angle_degrees for h in hearts])
    assert angle[failure].mean() > angle[~failure].mean() + 15
    fibrillating = np.array([h.fibrillating for h in hearts])
    assert not fibrillating[[not p.fibrillation for p in people]].any()
    assert_share(
        fibrillating[[p.fibrillation for p in people]], RECORD_KEEPING.fibrillating_fraction
    )
