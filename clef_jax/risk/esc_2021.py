"""SCORE2 and SCORE2-OP: ten-year risk of fatal and non-fatal cardiovascular disease in Europe.

SCORE2 (doi:10.1093/eurheartj/ehab309) applies below 70 years and SCORE2-OP (doi:10.1093/eurheartj/
ehab312) from 70. The constants of SCORE2-OP are those of its authors' own implementation; the paper
prints them rounded to two decimals. Both scores are intended for people without diabetes.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from clef_jax.risk._limits import check_limits
from clef_jax.risk._score import Score, check_binary, check_region, to_arrays

_AGES_YEARS = (40.0, 89.0)
_OLDER_FROM_YEARS = 70.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Model:
    """A Fine-Gray model of one sex and age group, recalibrated to each region."""

    main: dict[str, float]
    """Coefficient of each term."""
    by_age: dict[str, float]
    """Coefficient of each term's interaction with age."""
    age: float
    """Coefficient of age."""
    survival: float
    """Baseline survival at ten years."""
    mean: float = 0.0
    """Linear predictor of the average participant."""
    scales: dict[str, tuple[float, float]]
    """Intercept and slope of the recalibration to each region."""

    def risk(self, age: np.ndarray, terms: dict[str, np.ndarray], region: str) -> np.ndarray:
        predictor = self.age * age - self.mean + np.log(-np.log(self.survival))
        for name, value in terms.items():
            predictor = predictor + (self.main[name] + self.by_age[name] * age) * value
        shift, scale = self.scales[region]
        return -np.expm1(-np.exp(shift + scale * predictor))


_NAMES = ("smoker", "sbp", "diabetes", "total", "hdl")


def _named(*values: Any) -> dict[str, Any]:
    return dict(zip(_NAMES, values, strict=True))


def _regions(*values: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return dict(zip(("low", "moderate", "high", "very_high"), values, strict=True))


_SCORE2_MEN = _Model(
    age=0.3742,
    main=_named(0.6012, 0.2777, 0.6457, 0.1458, -0.2698),
    by_age=_named(-0.0755, -0.0255, -0.0983, -0.0281, 0.0426),
    survival=0.9605,
    scales=_regions((-0.5699, 0.7476), (-0.1565, 0.8009), (0.3207, 0.9360), (0.5836, 0.8294)),
)
_SCORE2_WOMEN = _Model(
    age=0.4648,
    main=_named(0.7744, 0.3131, 0.8096, 0.1002, -0.2606),
    by_age=_named(-0.1088, -0.0277, -0.1272, -0.0226, 0.0613),
    survival=0.9776,
    scales=_regions((-0.7380, 0.7019), (-0.3143, 0.7701), (0.5710, 0.9369), (0.9412, 0.8329)),
)
_OLDER_MEN = _Model(
    age=0.0633767915,
    main=_named(0.3523957899, 0.0094362177, 0.4245248910, 0.0849594156, -0.3563571842),
    by_age=_named(-0.0247205945, -0.0004794522, -0.0173654217, 0.0073336663, 0.0091317857),
    survival=0.75764702,
    mean=0.09285225,
    scales=_regions(
        (-0.343484, 1.193038), (0.005320, 1.248514), (0.084305, 1.151902), (0.045959, 0.703625)
    ),
)
_OLDER_WOMEN = _Model(
    age=0.0789191229,
    main=_named(0.4921147010, 0.0101993091, 0.6009874438, 0.0604939598, -0.3040280248),
    by_age=_named(-0.0255496313, -0.0004404728, -0.0106909701, -0.0009121461, 0.0153779923),
    survival=0.80821241,
    mean=0.2287676,
    scales=_regions(
        (-0.516054, 1.007238), (-0.101044, 1.099621), (0.375720, 1.089031), (0.379293, 0.691530)
    ),
)


def score2(
    *,
    age_years: ArrayLike,
    male: ArrayLike,
    smoker: ArrayLike,
    sbp_mmhg: ArrayLike,
    total_cholesterol_mmol_l: ArrayLike,
    hdl_mmol_l: ArrayLike,
    region: str,
    diabetes: ArrayLike = 0,
) -> np.ndarray:
    """Returns the ten-year risk in [0, 1] by SCORE2 below 70 years and by SCORE2-OP from 70.

    Inputs are broadcast against each other. The risk is NaN where an input is NaN or masked.

    Args:
        age_years: Age; ages outside of 40 to 89 years are clipped to this range.
        male, smoker, diabetes: 1 for yes, 0 for no; a former smoker counts as 0.
        sbp_mmhg: Systolic blood pressure.
        total_cholesterol_mmol_l, hdl_mmol_l: Total and HDL cholesterol.
        region: Risk region of the ESC: `low`, `moderate`, `high` or `very_high`.

    Raises:
        UserError: the region is unknown, a binary input is neither 0, 1 nor NaN, or a value is
            implausible, for example a cholesterol in mg/dL; the message names its position.
    """
    check_region(region)
    binary = to_arrays(male=male, smoker=smoker, diabetes=diabetes)
    measured = to_arrays(
        age_years=age_years,
        sbp_mmhg=sbp_mmhg,
        total_cholesterol_mmol_l=total_cholesterol_mmol_l,
        hdl_mmol_l=hdl_mmol_l,
    )
    check_binary(**binary)
    check_limits(**measured)
    male, smoker, diabetes, age, sbp, total, hdl = np.broadcast_arrays(
        *binary.values(), *measured.values()
    )
    age = np.clip(age, *_AGES_YEARS)
    younger = _named(smoker, (sbp - 120) / 20, diabetes, total - 6, (hdl - 1.3) / 0.5)
    older = _named(smoker, sbp - 150, diabetes, total - 6, hdl - 1.4)
    men, women = (
        np.where(
            age < _OLDER_FROM_YEARS,
            score2_model.risk((age - 60) / 5, younger, region),
            older_model.risk(age - 73, older, region),
        )
        for score2_model, older_model in (
            (_SCORE2_MEN, _OLDER_MEN),
            (_SCORE2_WOMEN, _OLDER_WOMEN),
        )
    )
    return np.where(np.isnan(male), np.nan, np.where(male == 1, men, women))


SCORE = Score(
    name="score2",
    inputs=(
        "age_years",
        "male",
        "smoker",
        "sbp_mmhg",
        "total_cholesterol_mmol_l",
        "hdl_mmol_l",
    ),
    function=score2,
    ages_years=_AGES_YEARS,
    citation="SCORE2 and SCORE2-OP working groups, Eur Heart J 2021;42:2439-2454 and 2455-2467",
)
