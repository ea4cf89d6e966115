"""Samples a simulated patient: demography, then risk factors, then diseases."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from clef_jax.simulation import stream
from clef_jax.simulation.coefficient import CLINICAL, HEART, Trend

MAX_PATIENTS = 160_000
"""Limit close to MIMIC-IV-ECG's 161,352 patients; eight-digit subject ids allow few more."""

_FIRST_SUBJECT = 10_000_032
_SUBJECT_GAP = 61
_AGE_LIMITS_YEARS = (18, 100)
_OLDEST_STORED_AGE_YEARS = 91
_ANCHOR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")

Smoking = Literal["never", "former", "current"]
Scar = Literal["none", "inferior", "anterior"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patient:
    """True data of one patient; the hospital's tables hold part of them."""

    index: int
    subject_id: int
    male: bool
    anchor_age_years: int
    """True age in the anchor year; the tables store 91 for everyone over 89."""
    anchor_year: int
    anchor_year_group: str
    heart_age_gap_years: float
    """Age of the heart minus the calendar age."""
    smoking: Smoking
    bmi_kg_m2: float
    height_inches: float
    hypertension: bool
    sbp_mmhg: float
    dbp_mmhg: float
    diabetes: bool
    total_cholesterol_mg_dl: float
    hdl_mg_dl: float
    infarct: bool
    scar: Scar
    """Location of an old infarct that still shows in the ECG."""
    failure: bool
    fibrillation: bool
    copd: bool
    died: bool
    temperament: dict[str, float]
    """Deviation of the patient from each trend of the heart, in standard deviations."""

    @property
    def stored_age_years(self) -> int:
        """Age as MIMIC-IV's `patients` table stores it."""
        return _OLDEST_STORED_AGE_YEARS if self.anchor_age_years > 89 else self.anchor_age_years

    def traits(self, years_since_anchor: float = 0.0) -> dict[str, float]:
        """Returns the covariates of every `Trend`; age is that of the heart."""
        age_years = self.anchor_age_years + years_since_anchor + self.heart_age_gap_years
        return {
            "decade": (age_years - 50.0) / 10.0,
            "male": float(self.male),
            "smoker": _smoking_dose(self.smoking),
            "sbp": (self.sbp_mmhg - 120.0) / 10.0,
            "bmi": (self.bmi_kg_m2 - 28.0) / 10.0,
            "cholesterol": (self.total_cholesterol_mg_dl - 190.0) / 40.0,
            "hypertension": float(self.hypertension),
            "diabetes": float(self.diabetes),
            "infarct": float(self.infarct),
            "failure": float(self.failure),
            "fibrillation": float(self.fibrillation),
            "copd": float(self.copd),
        }


def sample(seed: int, index: int) -> Patient:
    """Samples a patient, who depends only on the seed and the index."""
    if not 0 <= index < MAX_PATIENTS:
        raise ValueError(f"Patient {index} is outside 0..{MAX_PATIENTS - 1}.")
    rng = stream.make(seed, index, "patient")
    age_years = int(
        np.clip(rng.normal(CLINICAL.age_mean_years, CLINICAL.age_scatter_years), *_AGE_LIMITS_YEARS)
    )
    male = bool(rng.random() < CLINICAL.male_fraction)
    # Truncated, so that the heart of a young adult is not that of a child.
    gap_years = max(rng.normal(0.0, CLINICAL.heart_age_scatter_years), 16.0 - age_years)
    group = rng.integers(len(_ANCHOR_GROUPS))
    subject_id = _FIRST_SUBJECT + _SUBJECT_GAP * index + int(rng.integers(_SUBJECT_GAP))
    anchor_year = int(rng.integers(2110, 2191))
    return Patient(
        index=index,
        subject_id=subject_id,
        male=male,
        anchor_age_years=age_years,
        anchor_year=anchor_year,
        anchor_year_group=_ANCHOR_GROUPS[group],
        heart_age_gap_years=gap_years,
        height_inches=rng.normal(69.0 if male else 63.7, 2.8),
        **_risk_factors(rng, age_years, male),
        temperament={field.name: rng.normal() for field in dataclasses.fields(HEART)},
    )


def _risk_factors(rng: np.random.Generator, age_years: int, male: bool) -> dict:
    """Samples the risk factors, each given the previous ones."""
    traits = {"decade": (age_years - 50.0) / 10.0, "male": float(male)}

    def happens(trend: Trend) -> bool:
        return bool(rng.random() < trend.probability(traits))

    def measure(trend: Trend, low: float, high: float) -> float:
        return float(np.clip(trend.expect(traits) + trend.scatter * rng.normal(), low, high))

    smokes, used_to_smoke = happens(CLINICAL.smoker), happens(CLINICAL.former_smoker)
    smoking: Smoking = "current" if smokes else "former" if used_to_smoke else "never"
    traits["smoker"] = _smoking_dose(smoking)
    bmi_kg_m2 = measure(CLINICAL.bmi_kg_m2, 15.0, 60.0)
    traits["bmi"] = (bmi_kg_m2 - 28.0) / 10.0
    hypertension = happens(CLINICAL.hypertension)
    traits["hypertension"] = float(hypertension)
    sbp_mmhg = measure(CLINICAL.sbp_mmhg, 80.0, 220.0)
    traits["sbp"] = (sbp_mmhg - 120.0) / 10.0
    diabetes = happens(CLINICAL.diabetes)
    traits["diabetes"] = float(diabetes)
    total_cholesterol_mg_dl = measure(CLINICAL.total_cholesterol_mg_dl, 80.0, 420.0)
    traits["cholesterol"] = (total_cholesterol_mg_dl - 190.0) / 40.0
    hdl_mg_dl = min(measure(CLINICAL.hdl_mg_dl, 18.0, 130.0), 0.7 * total_cholesterol_mg_dl)
    infarct = happens(CLINICAL.infarct)
    traits["infarct"] = float(infarct)
    if infarct:
        treated_mg_dl = total_cholesterol_mg_dl - CLINICAL.statin_drop_mg_dl
        total_cholesterol_mg_dl = max(treated_mg_dl, 80.0, hdl_mg_dl / 0.7)
    return {
        "smoking": smoking,
        "bmi_kg_m2": bmi_kg_m2,
        "hypertension": hypertension,
        "sbp_mmhg": sbp_mmhg,
        "dbp_mmhg": float(np.clip(0.45 * sbp_mmhg + 17.0 + 7.0 * rng.normal(), 40.0, 125.0)),
        "diabetes": diabetes,
        "total_cholesterol_mg_dl": total_cholesterol_mg_dl,
        "hdl_mg_dl": hdl_mg_dl,
        "infarct": infarct,
        "scar": _sample_scar(rng, infarct),
        **_consequences(happens, traits),
    }


def _consequences(happens: Callable[[Trend], bool], traits: dict[str, float]) -> dict[str, bool]:
    """Samples diseases and death given the risk factors; adds each disease to `traits`."""
    sampled = {}
    for name in ("failure", "fibrillation", "copd"):
        sampled[name] = happens(getattr(CLINICAL, name))
        traits[name] = float(sampled[name])
    return {**sampled, "died": happens(CLINICAL.death)}


def _sample_scar(rng: np.random.Generator, infarct: bool) -> Scar:
    visible, inferior = rng.random() < HEART.visible_scar_fraction, rng.random() < 0.5
    if not (infarct and visible):
        return "none"
    return "inferior" if inferior else "anterior"


def _smoking_dose(smoking: Smoking) -> float:
    return {"never": 0.0, "former": 0.5, "current": 1.0}[smoking]
