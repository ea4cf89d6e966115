"""Risk by age and sex alone: SCORE2 and SCORE2-OP with every other input held fixed.

For data sets without clinical tables, and for experiments in which the risk must not carry labels,
such as when the other inputs were simulated from them.
"""

import numpy as np
from numpy.typing import ArrayLike

from clef_jax.risk import esc_2021
from clef_jax.risk._score import Score

FIXED = {
    "smoker": 0,
    "sbp_mmhg": 130.0,
    "total_cholesterol_mmol_l": 5.5,
    "hdl_mmol_l": 1.3,
    "diabetes": 0,
}
"""Values of the other inputs of SCORE2."""


def age_sex(*, age_years: ArrayLike, male: ArrayLike, region: str) -> np.ndarray:
    """Returns the ten-year risk in [0, 1] of a non-smoker with 130 mmHg, 5.5 and 1.3 mmol/L.

    Inputs are broadcast against each other. The risk is NaN where an input is NaN or masked.

    Args:
        age_years: Age; ages outside of 40 to 89 years are clipped to this range.
        male: 1 for men, 0 for women.
        region: Risk region of the ESC: `low`, `moderate`, `high` or `very_high`.

    Raises:
        UserError: the region is unknown, `male` is neither 0, 1 nor NaN, or an age is implausible.
    """
    return esc_2021.score2(age_years=age_years, male=male, region=region, **FIXED)


SCORE = Score(
    name="age_sex",
    inputs=("age_years", "male"),
    function=age_sex,
    ages_years=esc_2021.SCORE.ages_years,
    citation=f"{esc_2021.SCORE.citation}, with all inputs but age and sex held fixed",
)
