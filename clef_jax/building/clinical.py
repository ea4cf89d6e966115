"""Computes risk and completeness from observed clinical values, for all data sets.

Shapes: N records.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from clef_jax import plugin, risk
from clef_jax.data.record import OBSERVED_NAMES, Observed
from clef_jax.errors import UserError, WrongArgument
from clef_jax.finding import Finding, Findings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of clinical values and risk, stored with the data set.

    Raises:
        UserError: a number of days is negative.
    """

    score: str = "score2"
    """Name of the risk score, a module of clef_jax.risk. age_sex needs no clinical tables: all data
    sets that state age and sex have it."""
    region: Literal["low", "moderate", "high", "very_high"] = "moderate"
    """Risk region for which the score is calibrated."""
    pressure_window_days: int = 365
    """Maximum time between a blood pressure measurement and the ECG, in days."""
    cholesterol_window_days: int = 730
    """Maximum time between a cholesterol measurement and the ECG, in days."""
    code_window_days: int = 30
    """Maximum time from the ECG to an admission whose diagnosis codes are used, in days; earlier
    admissions are always used."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.name.endswith("_days") and getattr(self, field.name) < 0:
                value = getattr(self, field.name)
                raise UserError(f"{field.name} must not be negative, but is {value}.")


_TOTAL, _HDL = "total_cholesterol_mmol_l", "hdl_mmol_l"
FILLED_BY_MEDIAN = ("sbp_mmhg", "total_cholesterol_mmol_l", "hdl_mmol_l")
"""Inputs that are replaced by the cohort median of the patient's sex where not observed."""
FILLED_BY_NO = ("smoker",)
"""Inputs that are replaced by "no" where not observed, because only "yes" is coded."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """The risk of N records."""

    risk: np.ndarray
    """float32 [N] in [0, 1], NaN where age, sex or a median is unknown."""
    completeness: np.ndarray
    """float32 [N], fraction of the score's inputs that were observed."""
    extrapolated: np.ndarray
    """bool [N], whether the age is outside the score's range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorer:
    """Computes the risk score of one data set. It is picklable and part of every shard's task."""

    score: str
    region: str
    median_of_men: Mapping[str, float]
    """Men's medians of `FILLED_BY_MEDIAN` by name; NaN or absent where nobody was observed."""
    median_of_women: Mapping[str, float]
    """Women's medians, likewise."""

    def __post_init__(self):
        find_score(self.score)

    def __call__(self, observed: Sequence[Observed]) -> Scored:
        """Returns the risk of each record, after replacing missing and implausible inputs."""
        columns = {
            name: _plausible(name, np.array([getattr(values, name) for values in observed], float))
            for name in OBSERVED_NAMES
        }
        total, hdl = columns[_TOTAL], columns[_HDL]
        is_swapped = risk.exceeds_total(hdl, total)
        columns |= {_TOTAL: np.where(is_swapped, np.nan, total)}
        columns |= {_HDL: np.where(is_swapped, np.nan, hdl)}
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


def _plausible(name: str, value: np.ndarray) -> np.ndarray:
    """Returns the values of an observed input, with NaN for those outside of its limits."""
    limits = risk.LIMITS.get(name)
    return value if limits is None else np.where(limits.outside(value), np.nan, value)


def implausible(observed: Observed) -> tuple[str, ...]:
    """Returns the names of the values that are outside of their plausible limits, and of total and
    HDL cholesterol if the latter is higher.
    """
    limits = {name: risk.LIMITS[name] for name in OBSERVED_NAMES if name in risk.LIMITS}
    wrong = {name for name, limit in limits.items() if limit.outside(getattr(observed, name))}
    if risk.exceeds_total(getattr(observed, _HDL), getattr(observed, _TOTAL)):
        wrong |= {_TOTAL, _HDL} if not wrong & {_TOTAL, _HDL} else set()
    return tuple(name for name in limits if name in wrong)


def without(observed: Observed, names: Sequence[str]) -> Observed:
    """Returns the observed values, with NaN for those of the given names."""
    return dataclasses.replace(observed, **dict.fromkeys(names, np.nan))


def implausible_findings(record_id: str, names: Sequence[str]) -> tuple[Finding, ...]:
    """Returns the findings that report values as implausible, without quoting them."""
    findings = Findings()
    for name in names:
        limits = risk.LIMITS[name]
        other = ", or HDL exceeds total cholesterol," if name in (_TOTAL, _HDL) else ""
        detail = (
            f"The value of {name} is outside {limits.low:.4g}-{limits.high:.4g} {limits.unit}"
            f"{other} and is stored as unknown."
        )
        findings.keep(record_id, "implausible_value", detail)
    return tuple(findings)


def find_score(name: str) -> risk.Score:
    """Returns a risk score by its name.

    Raises:
        UserError: the name is unknown, or the score needs an input that prepared records lack.
    """
    scores = risk.load()
    if name not in scores:
        raise WrongArgument(plugin.unknown("risk score", name, scores))
    absent = [n for n in scores[name].inputs if n not in OBSERVED_NAMES]
    if absent:
        raise UserError(
            f"The score {name!r} needs {', '.join(absent)}, which prepared records do not store; "
            "choose another with --score."
        )
    return scores[name]
