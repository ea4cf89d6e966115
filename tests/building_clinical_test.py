"""Tests that missing inputs are replaced as documented, and counted in the completeness."""

import numpy as np
import pytest
from culprits import refuses
from prepared import build, examples

from clef_jax import risk
from clef_jax.building import catalog, clinical
from clef_jax.data import index as index_lib
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


@pytest.mark.parametrize(
    ("name", "value"),
    [("sbp_mmhg", 0.0), ("sbp_mmhg", 301.0), ("hdl_mmol_l", -3.0), ("hdl_mmol_l", 50.0)],
)
def test_implausible_values_are_filled_like_missing_ones(name, value):
    scored = SCORER([without(**{name: value}), without(name)])
    assert scored.risk[0] == scored.risk[1] == expected(**{name: WOMEN[name]})
    np.testing.assert_allclose(scored.completeness, 5 / 6)


def test_an_hdl_above_the_total_makes_both_missing():
    names = ("total_cholesterol_mmol_l", "hdl_mmol_l")
    swapped = without(total_cholesterol_mmol_l=1.3, hdl_mmol_l=5.5)
    assert clinical.implausible(swapped) == names
    scored = SCORER([swapped, without(*names)])
    assert scored.risk[0] == scored.risk[1]
    np.testing.assert_allclose(scored.completeness, 4 / 6)
    total, _ = clinical.implausible_findings("a", names)
    assert "HDL exceeds total" in total.detail
    assert clinical.implausible(without(total_cholesterol_mmol_l=1.3, hdl_mmol_l=1.3)) == ()


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


def test_age_and_sex_alone_need_no_medians_and_count_in_the_completeness():
    scorer = clinical.Scorer(
        score="age_sex", region="moderate", median_of_men={}, median_of_women={}
    )
    scored = scorer([Observed(age_years=61.0, male=0.0), without("male"), Observed(**FULL)])
    want = expected(smoker=0.0, sbp_mmhg=130.0, total_cholesterol_mmol_l=5.5, hdl_mmol_l=1.3)
    np.testing.assert_array_equal(scored.risk, [want, np.nan, want])
    np.testing.assert_array_equal(scored.completeness, [1, 0.5, 1])


@pytest.mark.parametrize("dataset", ["ptb_xl/100hz", "mimic_iv_ecg"])
def test_every_data_set_with_age_and_sex_has_their_risk(dataset, tmp_path):
    settings = clinical.Settings(score="age_sex", region="high")
    name = dataset.partition("/")[0]
    tree = catalog.simulated(name).write(tmp_path / "source")
    made = build(dataset, tree.source, tmp_path / "data", **tree.options | {"clinical": settings})
    stored = examples(made).values()
    score = risk.load()["age_sex"].function
    for example in stored:
        want = score(age_years=example["age_years"], male=example["male"], region="high")
        np.testing.assert_allclose(example["risk"], want, rtol=1e-6)
        known = np.isfinite([example["age_years"], example["male"]]).mean()
        assert example["completeness"] == known
    assert any(np.isfinite(example["risk"]) for example in stored)
    assert index_lib.load(made.data_path, "train").settings["score"] == "age_sex"


def test_a_source_without_age_and_sex_refuses_their_score(tmp_path):
    settings = clinical.Settings(score="age_sex")
    with refuses("cinc2017", "--score=age_sex", problem="unusable_score"):
        build("cinc2017", tmp_path, tmp_path / "data", clinical=settings)
