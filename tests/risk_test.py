"""Risk scores agree with their published worked examples."""

import dataclasses

import numpy as np
import pytest
from culprits import refuses

from clef_jax import risk
from clef_jax.risk import esc_2021, esc_2023_diabetes

# sex, age, smoker, SBP, total, HDL, region: published %, computed %
SCORE2_EXAMPLES = [
    (("m", 50, 1, 140, 5.5, 1.3, "low"), 5.9, 5.9133),
    (("m", 50, 1, 140, 5.5, 1.3, "very_high"), 14.0, 14.0486),
    (("f", 50, 1, 140, 5.5, 1.3, "low"), 4.2, 4.2155),
    (("f", 50, 1, 140, 5.5, 1.3, "very_high"), 13.7, 13.7005),
    (("m", 50, 1, 140, 6.3, 1.4, "low"), 6.3, None),
    (("m", 50, 1, 140, 6.3, 1.4, "moderate"), 8.1, None),
    (("m", 50, 1, 140, 6.3, 1.4, "high"), 8.8, None),
    (("m", 50, 1, 140, 6.3, 1.4, "very_high"), 15.1, None),
    (("f", 50, 1, 140, 6.3, 1.4, "low"), 4.3, None),
    (("f", 50, 1, 140, 6.3, 1.4, "moderate"), 5.2, None),
    (("f", 50, 1, 140, 6.3, 1.4, "high"), 7.1, None),
    (("f", 50, 1, 140, 6.3, 1.4, "very_high"), 14.1, None),
    (("m", 45, 0, 110, 5, 2, "low"), 1.1, 1.0717),
    (("f", 45, 1, 140, 5, 2, "very_high"), 6.0, 5.9799),
    (("m", 48, 1, 160, 8, 2, "high"), 10.0, 10.0288),
    (("m", 60, 0, 120, 6, 1.3, "low"), None, 4.9974),
    (("f", 60, 0, 120, 6, 1.3, "low"), None, 3.2940),
]
# ...: published % (rounded constants), the same with more digits, full-precision %
OLDER_EXAMPLES = [
    (("m", 75, 1, 140, 5.5, 1.3, "low"), 18.6, 18.5621, 18.43),
    (("f", 75, 1, 140, 5.5, 1.3, "low"), 15.2, 15.1580, 15.28),
    (("m", 75, 0, 140, 5.5, 1.3, "low"), 13.3, 13.3395, 13.23),
    (("f", 75, 0, 110, 5, 2, "low"), 6.1, 6.1408, 6.22),
    (("m", 75, 1, 140, 5.5, 1.3, "moderate"), 23.9, 23.9420, 23.85),
    (("f", 75, 1, 140, 5.5, 1.3, "moderate"), 20.0, 19.9966, 20.01),
    (("m", 75, 1, 140, 6, 1.3, "high"), 29.2, 29.1811, 29.21),
    (("f", 75, 1, 110, 5, 2, "high"), 19.0, 19.0340, 19.05),
    (("m", 75, 1, 140, 6, 1.3, "very_high"), 40.8, 40.7811, 40.52),
    (("f", 75, 1, 140, 6, 1.3, "very_high"), 46.2, 46.2063, 46.14),
]
# SCORE2-OP as printed in the paper, two decimals in the scales.
ROUNDED = {
    "m": {
        "age": 0.0634,
        "main": esc_2021._named(0.3524, 0.0094, 0.4245, 0.0850, -0.3564),
        "by_age": esc_2021._named(-0.0247, -0.0005, -0.0174, 0.0073, 0.0091),
        "survival": 0.7576,
        "mean": 0.0929,
        "scales": esc_2021._regions((-0.34, 1.19), (0.01, 1.25), (0.08, 1.15), (0.05, 0.70)),
    },
    "f": {
        "age": 0.0789,
        "main": esc_2021._named(0.4921, 0.0102, 0.6010, 0.0605, -0.3040),
        "by_age": esc_2021._named(-0.0255, -0.0004, -0.0107, -0.0009, 0.0154),
        "survival": 0.8082,
        "mean": 0.229,
        "scales": esc_2021._regions((-0.52, 1.01), (-0.10, 1.10), (0.38, 1.09), (0.38, 0.69)),
    },
}


def percent(case, **more):
    sex, age, smoker, sbp, total, hdl, region = case
    return 100 * risk.score2(
        age_years=age,
        male=sex == "m",
        smoker=smoker,
        sbp_mmhg=sbp,
        total_cholesterol_mmol_l=total,
        hdl_mmol_l=hdl,
        region=region,
        **more,
    )


@pytest.mark.parametrize(("case", "published", "computed"), SCORE2_EXAMPLES)
def test_score2_gives_the_published_values(case, published, computed):
    got = percent(case)
    if published is not None:
        assert round(float(got), 1) == published
    if computed is not None:
        np.testing.assert_allclose(got, computed, atol=5e-5)


@pytest.mark.parametrize(("case", "published", "computed", "precise"), OLDER_EXAMPLES)
def test_score2_op_gives_the_published_values(case, published, computed, precise, monkeypatch):
    np.testing.assert_allclose(percent(case), precise, atol=5.1e-3)
    monkeypatch.setattr(esc_2021, "_OLDER_MEN", esc_2021._Model(**ROUNDED["m"]))
    monkeypatch.setattr(esc_2021, "_OLDER_WOMEN", esc_2021._Model(**ROUNDED["f"]))
    rounded = percent(case)
    assert round(float(rounded), 1) == published
    np.testing.assert_allclose(rounded, computed, atol=5e-5)


def test_diabetes_raises_the_risk_only_if_it_is_given():
    case = ("m", 89, 1, 200, 8, 0.7, "high")
    np.testing.assert_allclose(percent(case, diabetes=1), 81.5695, atol=5e-5)
    assert percent(case) < percent(case, diabetes=1)


def test_the_model_changes_at_seventy():
    step = [percent(("f", age, 0, 140, 5.5, 1.5, "low")) for age in (69.99, 70)]
    np.testing.assert_allclose(step, [7.01, 6.34], atol=5.1e-3)


def test_ages_outside_of_the_range_are_clipped_and_flagged():
    for outside, end in ((18, 40), (39.9, 40), (91, 89)):
        case = ("m", outside, 0, 140, 5.5, 1.3, "moderate")
        assert percent(case) == percent((case[0], end, *case[2:]))
    flags = risk.load()["score2"].extrapolated([18, 40, 69.5, 89, 91, np.nan])
    np.testing.assert_array_equal(flags, [True, False, False, False, True, False])


INPUTS = {
    "age_years": 75.0,
    "male": 1.0,
    "smoker": 0.0,
    "sbp_mmhg": 140.0,
    "total_cholesterol_mmol_l": 5.0,
    "hdl_mmol_l": 1.3,
    "diabetes": 0.0,
}


@pytest.mark.parametrize("name", INPUTS)
def test_nan_in_nan_out(name):
    values = dict(INPUTS, **{name: np.array([INPUTS[name], np.nan])})
    out = risk.score2(**values, region="low")
    assert np.isfinite(out[0])
    assert np.isnan(out[1])


def test_broadcasts_in_float64():
    out = risk.score2(
        **dict(INPUTS, age_years=np.arange(40, 80)[:, None], male=[0, 1]), region="low"
    )
    assert out.shape == (40, 2)
    assert out.dtype == np.float64
    assert ((out > 0) & (out < 1)).all()


def test_unknown_region_names_the_nearest():
    with refuses("'very high'", "'very_high'"):
        risk.score2(**INPUTS, region="very high")


def test_yes_no_inputs_are_checked():
    with refuses("smoker"):
        risk.score2(**dict(INPUTS, smoker=25.0), region="low")


# The plausible limits, in the units in which they are agreed: 1 mmol/L is 38.67 mg/dL.
MG_DL = 38.67


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("total_cholesterol_mmol_l", 213, "mg/dL"),
        ("total_cholesterol_mmol_l", 1001 / MG_DL, ""),
        ("total_cholesterol_mmol_l", 39 / MG_DL, "g/L"),
        ("hdl_mmol_l", 50, "mg/dL"),
        ("hdl_mmol_l", 251 / MG_DL, "mg/dL"),
        ("hdl_mmol_l", 4.9 / MG_DL, "g/L"),
        ("hdl_mmol_l", -3, ""),
        ("sbp_mmhg", 0, ""),
        ("sbp_mmhg", 49, ""),
        ("sbp_mmhg", 301, ""),
        ("sbp_mmhg", 18, "kPa"),
        ("sbp_mmhg", 16_000, "Pa"),
        ("sbp_mmhg", np.inf, ""),
        ("age_years", 600, "months"),
        ("age_years", -1, ""),
    ],
)
def test_implausible_values_are_refused_with_their_position_and_likely_unit(name, value, unit):
    rows = np.array([INPUTS[name], np.nan, INPUTS[name], value])
    unit = unit or name
    with refuses(name, "position 3", f"{value:g}", unit, problem="implausible_value"):
        risk.score2(**dict(INPUTS, **{name: rows}), region="low")
    with refuses("position (1, 1)", unit, problem="implausible_value"):
        risk.score2(**dict(INPUTS, **{name: rows.reshape(2, 2)}), region="low")
    with refuses(name, unit, problem="implausible_value") as caught:
        risk.score2(**dict(INPUTS, **{name: value}), region="low")
    assert "position" not in str(caught.value)
    assert (unit == name) == ("probably" not in str(caught.value))


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("total_cholesterol_mmol_l", (40 / MG_DL, 1000 / MG_DL, 40 * 0.02586, 1000 * 0.02586)),
        ("hdl_mmol_l", (5 / MG_DL, 250 / MG_DL)),
        ("sbp_mmhg", (50, 300)),
        ("age_years", (0, 18, 120)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_limits_themselves_are_plausible(name, ends, dtype):
    ends = np.array(ends, dtype)
    assert np.isfinite(risk.score2(**dict(INPUTS, **{name: ends}), region="low")).all()


@pytest.mark.parametrize("name", ["male", "smoker", "sbp_mmhg", "total_cholesterol_mmol_l"])
def test_an_input_that_is_no_number_is_named(name):
    for value in ("never", ["140", "<5.5"], [None, "m"], object()):
        with refuses(name, "numbers"):
            risk.score2(**dict(INPUTS, **{name: value}), region="low")


def test_a_masked_value_is_unknown():
    total = np.ma.masked_array([5.0, 213.0, 5.0], mask=[False, True, False])
    out = risk.score2(**dict(INPUTS, total_cholesterol_mmol_l=total), region="low")
    np.testing.assert_array_equal(np.isnan(out), [False, True, False])


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [("hba1c_mmol_mol", 7.1, "%"), ("egfr_ml_min_173m2", 0, "0"), ("hdl_mmol_l", 50, "mg/dL")],
)
def test_score2_diabetes_refuses_implausible_values(name, value, unit):
    values = {n: v for n, v in INPUTS.items() if n != "diabetes"}
    values |= {"diabetes_diagnosis_age_years": 60, "hba1c_mmol_mol": 50, "egfr_ml_min_173m2": 90}
    values[name] = [values[name], value]
    with refuses(name, "position 1", unit, problem="implausible_value"):
        esc_2023_diabetes.score2_diabetes(**values, region="low")


@pytest.mark.parametrize(
    ("region", "men", "women"),
    [
        ("low", 8.39, 6.1),
        ("moderate", 10.96, 7.59),
        ("high", 12.5, 11.14),
        ("very_high", 20.27, 20.63),
    ],
)
def test_score2_diabetes_gives_its_worked_example(region, men, women):
    got = esc_2023_diabetes.score2_diabetes(
        age_years=60,
        male=[1, 0],
        smoker=0,
        sbp_mmhg=140,
        total_cholesterol_mmol_l=5.5,
        hdl_mmol_l=1.3,
        diabetes_diagnosis_age_years=60,
        hba1c_mmol_mol=50,
        egfr_ml_min_173m2=90,
        region=region,
    )
    np.testing.assert_allclose(100 * got, [men, women], atol=5.1e-3)


@pytest.mark.parametrize(("name", "score"), risk.load().items())
def test_every_score_found_in_the_folder_works(name, score):
    assert score.name == name
    assert score.citation
    inside = sum(score.ages_years) / 2
    values = {n: INPUTS.get(n, 50.0) for n in score.inputs} | {"age_years": inside}
    for region in score.regions:
        assert 0 < score.function(**values, region=region) < 1
    assert not score.extrapolated(inside)
    assert dataclasses.is_dataclass(score)


@pytest.mark.parametrize("region", risk.REGIONS)
def test_age_and_sex_give_score2_of_a_fixed_person(region):
    ages, male = np.arange(18.0, 95.0), np.array([[0.0], [1.0]])
    got = risk.load()["age_sex"].function(age_years=ages, male=male, region=region)
    for row, sex in zip(got, "fm", strict=True):
        fixed = [(sex, age, 0, 130, 5.5, 1.3, region) for age in ages]
        np.testing.assert_allclose(100 * row, [percent(case) for case in fixed], rtol=1e-12)
    assert (np.diff(got[:, 22:52], axis=1) > 0).all()


def test_age_and_sex_are_the_only_inputs_of_their_score():
    score = risk.load()["age_sex"]
    assert score.inputs == ("age_years", "male")
    got = score.function(age_years=[60.0, np.nan, 60.0], male=[1.0, 1.0, np.nan], region="low")
    np.testing.assert_array_equal(np.isnan(got), [False, True, True])
    with refuses("male"):
        score.function(age_years=60.0, male=2.0, region="low")
