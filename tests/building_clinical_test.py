"""Missing inputs are filled as documented, and completeness tells how many there were."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax import risk
from clef_jax.building import clinical
from clef_jax.data.record import Observed

MEN = {"sbp_mmhg": 130.0, "total_cholesterol_mmol_l": 5.0, "hdl_mmol_l": 1.2}
WOMEN = {"sbp_mmhg": 120.0, "total_cholesterol_mmol_l": 5.5, "hdl_mmol_l": 1.6}
SCORER = clinical.Scorer(
    score="score2", region="moderate", median_of_men=MEN, median_of_women=WOMEN
)
FULL = {
    "age_years": 61.0,
    "male": 0.0,
    "smoker": 1.0,
    "sbp_mmhg": 151.0,
    "total_cholesterol_mmol_l": 6.2,
    "hdl_mmol_l": 1.1,
}


def expected(**values):
    return np.float32(risk.score2(**(FULL | values), region="moderate"))


def without(*names, **changes):
    return Observed(**({n: v for n, v in FULL.items() if n not in names} | changes))


def test_risk_of_observed_values():
    scored = SCORER([Observed(**FULL), Observed(**FULL, diabetes=1.0)])
    np.testing.assert_array_equal(scored.risk, [expected()] * 2)  # diabetes does not enter
    np.testing.assert_array_equal(scored.completeness, [1, 1])
    assert scored.risk.dtype == scored.completeness.dtype == np.float32


@pytest.mark.parametrize("name", MEN)
@pytest.mark.parametrize(("male", "medians"), [(1.0, MEN), (0.0, WOMEN)])
def test_measurements_are_filled_by_the_median_of_the_sex(name, male, medians):
    scored = SCORER([without(name, male=male)])
    assert scored.risk == expected(male=male, **{name: medians[name]})
    np.testing.assert_allclose(scored.completeness, 5 / 6)


def test_smoking_without_code_counts_as_missing_and_as_no():
    scored = SCORER([without("smoker"), without(smoker=0.0)])
    assert (scored.risk == expected(smoker=0.0)).all()
    np.testing.assert_allclose(scored.completeness, [5 / 6, 1])


@pytest.mark.parametrize("name", ["age_years", "male"])
def test_age_and_sex_are_never_filled(name):
    scored = SCORER([without(name)])
    assert np.isnan(scored.risk)
    np.testing.assert_allclose(scored.completeness, 5 / 6)


def test_without_anything_risk_is_unknown():
    scored = SCORER([Observed()])
    assert np.isnan(scored.risk)
    assert scored.completeness == 0
    assert not scored.extrapolated


def test_without_a_median_risk_is_unknown():
    scorer = clinical.Scorer(
        score="score2", region="low", median_of_men=MEN, median_of_women={"sbp_mmhg": np.nan}
    )
    risks = scorer([without("sbp_mmhg"), without("sbp_mmhg", male=1.0), without()]).risk
    np.testing.assert_array_equal(np.isnan(risks), [True, False, False])


def test_extrapolated_ages_are_flagged():
    ages = SCORER([without(age_years=age) for age in (18.0, 40.0, 89.0, 91.0)]).extrapolated
    np.testing.assert_array_equal(ages, [True, False, False, True])


@pytest.mark.parametrize(
    ("name", "culprits"),
    [
        ("score3", ("'score3'", "'score2'")),
        ("score2_diabetes", ("diabetes_diagnosis_age_years", "--score")),
    ],
)
def test_scores_that_do_not_work_are_refused(name, culprits):
    with refuses(*culprits):
        clinical.Scorer(score=name, region="low", median_of_men={}, median_of_women={})


def test_windows_must_not_be_negative():
    with refuses("pressure_window_days"):
        clinical.Settings(pressure_window_days=-1)
