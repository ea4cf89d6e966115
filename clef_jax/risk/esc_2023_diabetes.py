"""SCORE2-Diabetes: ten-year cardiovascular risk of people with type 2 diabetes.

SCORE2-Diabetes working group, Eur Heart J 2023;44:2544-2556, doi:10.1093/eurheartj/ehad260.
"""

import numpy as np
from numpy.typing import ArrayLike

from clef_jax.risk._limits import check_limits
from clef_jax.risk._score import Score, check_binary, check_region, to_arrays
from clef_jax.risk.esc_2021 import _SCORE2_MEN, _SCORE2_WOMEN

_AGES_YEARS = (40.0, 69.0)
# fmt: off
_NAMES = [
    "age", "smoker", "sbp", "diabetes", "total", "hdl", "age*smoker", "age*sbp", "age*diabetes",
    "age*total", "age*hdl", "diagnosis", "hba1c", "egfr", "egfr^2", "age*hba1c", "age*egfr",
]
_MEN = dict(zip(_NAMES, (
    0.5368, 0.4774, 0.1322, 0.6457, 0.1102, -0.1087, -0.0672, -0.0268, -0.0983, -0.0181, 0.0095,
    -0.0998, 0.0955, -0.0591, 0.0058, -0.0134, 0.0115), strict=True))
_WOMEN = dict(zip(_NAMES, (
    0.6624, 0.6139, 0.1421, 0.8096, 0.1127, -0.1568, -0.1122, -0.0167, -0.1272, -0.0200, 0.0186,
    -0.1180, 0.1173, -0.0640, 0.0062, -0.0196, 0.0169), strict=True))
# fmt: on


def score2_diabetes(
    *,
    age_years: ArrayLike,
    male: ArrayLike,
    smoker: ArrayLike,
    sbp_mmhg: ArrayLike,
    total_cholesterol_mmol_l: ArrayLike,
    hdl_mmol_l: ArrayLike,
    diabetes_diagnosis_age_years: ArrayLike,
    hba1c_mmol_mol: ArrayLike,
    egfr_ml_min_173m2: ArrayLike,
    region: str,
) -> np.ndarray:
    """Returns the ten-year risk in [0, 1] of people who have type 2 diabetes.

    Other arguments and errors are as in `esc_2021.score2`.

    Args:
        age_years: Age; ages outside of 40 to 69 years are clipped to this range.
        diabetes_diagnosis_age_years: Age at the diagnosis of diabetes.
        hba1c_mmol_mol: Glycated haemoglobin.
        egfr_ml_min_173m2: Estimated glomerular filtration rate, ml/min per 1.73 m2.
    """
    check_region(region)
    binary = to_arrays(male=male, smoker=smoker)
    measured = to_arrays(
        age_years=age_years,
        sbp_mmhg=sbp_mmhg,
        total_cholesterol_mmol_l=total_cholesterol_mmol_l,
        hdl_mmol_l=hdl_mmol_l,
        diabetes_diagnosis_age_years=diabetes_diagnosis_age_years,
        hba1c_mmol_mol=hba1c_mmol_mol,
        egfr_ml_min_173m2=egfr_ml_min_173m2,
    )
    check_binary(**binary)
    check_limits(**measured)
    male, smoker, age, sbp, total, hdl, diagnosis, hba1c, egfr = np.broadcast_arrays(
        *binary.values(), *measured.values()
    )
    age = (np.clip(age, *_AGES_YEARS) - 60) / 5
    main = {
        "smoker": smoker,
        "sbp": (sbp - 120) / 20,
        "diabetes": np.ones_like(age),
        "total": total - 6,
        "hdl": (hdl - 1.3) / 0.5,
        "hba1c": (hba1c - 31) / 9.34,
        "egfr": (np.log(egfr) - 4.5) / 0.15,
    }
    terms = {"age": age, **main, "diagnosis": (diagnosis - 50) / 5, "egfr^2": main["egfr"] ** 2}
    terms |= {f"age*{name}": age * value for name, value in main.items()}
    men, women = (
        _recalibrated(sum(weights[name] * terms[name] for name in _NAMES), region, model)
        for weights, model in ((_MEN, _SCORE2_MEN), (_WOMEN, _SCORE2_WOMEN))
    )
    return np.where(np.isnan(male), np.nan, np.where(male == 1, men, women))


def _recalibrated(predictor, region: str, model) -> np.ndarray:
    """Returns the risk of a linear predictor, with SCORE2's baseline survival and regions."""
    shift, scale = model.scales[region]
    return -np.expm1(-np.exp(shift + scale * (predictor + np.log(-np.log(model.survival)))))


SCORE = Score(
    name="score2_diabetes",
    inputs=(
        "age_years",
        "male",
        "smoker",
        "sbp_mmhg",
        "total_cholesterol_mmol_l",
        "hdl_mmol_l",
        "diabetes_diagnosis_age_years",
        "hba1c_mmol_mol",
        "egfr_ml_min_173m2",
    ),
    function=score2_diabetes,
    ages_years=_AGES_YEARS,
    citation="SCORE2-Diabetes working group, Eur Heart J 2023;44:2544-2556",
)
