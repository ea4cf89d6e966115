"""From observed clinical values to the risk and its completeness, once and for all data sets.

Shapes: N records.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from clef_jax import plugin, risk
from clef_jax.data.record import OBSERVED_NAMES, Observed
from clef_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How clinical values are looked up and scored. Stored with the data set."""

    score: str = "score2"
    """The risk score, one of the modules of clef_jax.risk."""
    region: Literal["low", "moderate", "high", "very_high"] = "moderate"
    """The risk region that the score is calibrated to."""
    pressure_window_days: int = 365
    """A blood pressure counts if it was taken within so many days of the ECG."""
    cholesterol_window_days: int = 730
    """A cholesterol counts if it was taken within so many days of the ECG."""
    code_window_days: int = 30
    """Diagnosis codes count from admissions up to so many days after the ECG."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.name.endswith("_days") and getattr(self, field.name) < 0:
                raise UserError(f"{field.name} must not be negative.")


FILLED_BY_MEDIAN = ("sbp_mmhg", "total_cholesterol_mmol_l", "hdl_mmol_l")
"""Inputs that enter the score as the median of the patient's sex where they were not observed."""
FILLED_BY_NO = ("smoker",)
"""Inputs that enter the score as "no": a code is written down when the answer is yes."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """The risk of N records."""

    risk: np.ndarray
    """float32 [N] in [0, 1], NaN where age, sex or a median is unknown."""
    completeness: np.ndarray
    """float32 [N], share of the score's inputs that were observed."""
    extrapolated: np.ndarray
    """bool [N], the age lies outside of the score's range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorer:
    """The risk score of one data set. Small and picklable: it travels with every shard."""

    score: str
    region: str
    median_of_men: Mapping[str, float]
    """Cohort medians of the observed `FILLED_BY_MEDIAN`; NaN or absent where nobody has one."""
    median_of_women: Mapping[str, float]

    def __post_init__(self):
        find_score(self.score)

    def __call__(self, observed: Sequence[Observed]) -> Scored:
        """The risk of every record, missing inputs filled."""
        columns = {
            name: np.array([getattr(values, name) for values in observed], float)
            for name in OBSERVED_NAMES
        }
        score = find_score(self.score)
        known = np.mean([~np.isnan(columns[name]) for name in score.inputs], axis=0)
        inputs = {name: self._fill(name, columns) for name in score.inputs}
        return Scored(
            risk=score.function(**inputs, region=self.region).astype(np.float32),
            completeness=known.astype(np.float32),
            extrapolated=score.extrapolated(columns["age_years"]),
        )

    def _fill(self, name: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        value = columns[name]
        if name in FILLED_BY_NO:
            return np.where(np.isnan(value), 0.0, value)
        if name in FILLED_BY_MEDIAN:
            men = self.median_of_men.get(name, np.nan)
            women = self.median_of_women.get(name, np.nan)
            return np.where(np.isnan(value), np.where(columns["male"] == 1, men, women), value)
        return value


def find_score(name: str) -> risk.Score:
    """The score of this name.

    Raises:
        UserError: there is none, or it needs an input that records do not hold.
    """
    scores = risk.load()
    if name not in scores:
        raise UserError(plugin.unknown("risk score", name, scores))
    absent = [n for n in scores[name].inputs if n not in OBSERVED_NAMES]
    if absent:
        raise UserError(
            f"The score {name!r} needs {', '.join(absent)}, which prepared records do not hold; "
            "choose another with --score."
        )
    return scores[name]
