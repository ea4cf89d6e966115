"""Effects of patient traits on simulated clinical data and ECGs, with references.

The slopes are rounded from the literature. As in people, the scatter is larger than the slopes, so
a model can predict only part of the risk from these recordings.
"""

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trend:
    """Expectation of a quantity, linear in the patient's traits, and its scatter.

    Every number is in the unit of the quantity. `base` is that of a healthy 50-year-old woman who
    never smoked, with 120 mmHg systolic, BMI of 28 kg/m2 and total cholesterol 190 mg/dL.
    """

    base: float
    decade: float = 0.0
    """Per ten years of age beyond 50."""
    male: float = 0.0
    smoker: float = 0.0
    """Current smoker; half of it for a former one."""
    sbp: float = 0.0
    """Per 10 mmHg of systolic pressure above 120."""
    bmi: float = 0.0
    """Per 10 kg/m2 of body mass index above 28."""
    cholesterol: float = 0.0
    """Per 40 mg/dL of total cholesterol above 190."""
    hypertension: float = 0.0
    diabetes: float = 0.0
    infarct: float = 0.0
    failure: float = 0.0
    fibrillation: float = 0.0
    copd: float = 0.0
    scatter: float = 0.0
    """Standard deviation between patients of equal traits."""
    day_scatter: float = 0.0
    """Standard deviation between the recordings of one patient."""

    def expect(self, traits: Mapping[str, float]) -> float:
        """Returns the expectation for a patient with these traits; absent traits count as zero."""
        return self.base + sum(getattr(self, name) * value for name, value in traits.items())

    def probability(self, traits: Mapping[str, float]) -> float:
        """Returns the probability whose logit is the expectation."""
        return 1.0 / (1.0 + math.exp(-self.expect(traits)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClinicalTable:
    """Patients of a large American hospital; prevalences are logits."""

    age_mean_years: float = 61.0
    """MIMIC-IV's patients with an ECG are in their early sixties."""
    age_scatter_years: float = 18.0
    male_fraction: float = 0.49
    heart_age_scatter_years: float = 9.0
    """ECG-age models differ from the calendar by 7 to 10 years in the general population."""
    smoker: Trend = Trend(base=-1.3, decade=-0.25, male=0.2)
    """About 20 % at 50, fewer at high age (survivors, former smokers)."""
    former_smoker: Trend = Trend(base=-1.0, decade=0.25, male=0.4)
    """A quarter to a half of those who do not smoke, more among older men."""
    bmi_kg_m2: Trend = Trend(base=28.8, decade=-0.4, scatter=6.0)
    """NHANES: mean 29, standard deviation 6 to 7."""
    hypertension: Trend = Trend(base=-0.5, decade=0.55, bmi=0.6)
    """NHANES: a third at 50, two thirds at 70."""
    sbp_mmhg: Trend = Trend(base=118.0, decade=3.0, male=3.0, hypertension=9.0, scatter=13.0)
    """Framingham: systolic pressure rises by 3 to 5 mmHg per decade; treated hypertension."""
    diabetes: Trend = Trend(base=-1.9, decade=0.2, male=0.2, bmi=0.8, hypertension=0.5)
    """A quarter of the inpatients; strongest slope is body mass."""
    total_cholesterol_mg_dl: Trend = Trend(
        base=196.0, decade=-3.0, male=-6.0, smoker=4.0, bmi=3.0, diabetes=-8.0, scatter=38.0
    )
    """NHANES: 190 mg/dL, standard deviation 40; lower in treated diabetes and at high age."""
    statin_drop_mg_dl: float = 25.0
    """Less after an infarct, because most survivors are treated."""
    hdl_mg_dl: Trend = Trend(
        base=60.0, decade=0.5, male=-10.0, smoker=-4.0, bmi=-6.0, diabetes=-4.0, scatter=14.0
    )
    """NHANES: women 58, men 47 mg/dL."""
    infarct: Trend = Trend(
        base=-4.0,
        decade=0.5,
        male=0.6,
        smoker=0.6,
        sbp=0.12,
        cholesterol=0.25,
        hypertension=0.3,
        diabetes=0.6,
    )
    """INTERHEART's factors at about half of their odds ratios; a tenth of the inpatients."""
    failure: Trend = Trend(base=-3.6, decade=0.5, hypertension=0.4, diabetes=0.4, infarct=1.3)
    """Framingham: risk doubles with age, hypertension, and rises most after an infarct."""
    fibrillation: Trend = Trend(base=-3.6, decade=0.7, male=0.4, hypertension=0.3, failure=1.0)
    """ATRIA: below 1 % at 50, a tenth at 80; hospital patients several times that."""
    copd: Trend = Trend(base=-3.6, decade=0.4, smoker=1.8)
    """A sixth of elderly smokers."""
    death: Trend = Trend(base=-3.2, decade=0.6, smoker=0.4, infarct=0.4, failure=0.9, copd=0.5)
    """A date of death within MIMIC-IV's year after the last discharge: a tenth of the patients."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordKeepingTable:
    """Completeness of a hospital's records."""

    pressure_missing_fraction: float = 0.25
    lipids_missing_fraction: float = 0.55
    hdl_missing_fraction: float = 0.05
    """Fraction of lipid panels without HDL."""
    unreadable_lab_fraction: float = 0.005
    """Fraction of results without a number ("___" in the comments)."""
    body_size_missing_fraction: float = 0.2
    smoker_coded_fraction: float = 0.5
    former_smoker_coded_fraction: float = 0.4
    diagnosis_coded_fraction: float = 0.9
    """Chronic diseases, per admission."""
    postural_pressure_fraction: float = 0.06
    """Fraction of visits with a further pressure, lying or standing, beside the seated one."""
    pressure_day_scatter_mmhg: float = 9.0
    """Visit-to-visit standard deviation of systolic pressure."""
    first_ecg_admitted_fraction: float = 0.8
    later_ecg_admitted_fraction: float = 0.4
    single_visit_fraction: float = 0.355
    """MIMIC-IV-ECG: 35.5 % of the patients have one study."""
    same_stay_fraction: float = 0.45
    """Fraction of further ECGs that follow the previous one within days."""
    fibrillating_fraction: float = 0.55
    """Fraction of fibrillation among the recordings of patients who have it; others are sinus."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeartTable:
    """Parameters of one recording. Age here is that of the heart, not of the calendar."""

    heart_rate_bpm: Trend = Trend(
        base=75.0,
        decade=-0.6,
        male=-3.0,
        smoker=4.0,
        bmi=2.0,
        diabetes=4.0,
        infarct=-3.0,
        failure=5.0,
        copd=5.0,
        fibrillation=2.0,
        scatter=9.0,
        day_scatter=8.0,
    )
    """MIMIC-IV-ECG: near 80; diabetes, smoking: 3 to 5 more; beta blockers after infarct."""
    log_respiratory_variability: Trend = Trend(
        base=-3.5,
        decade=-0.22,
        diabetes=-0.3,
        failure=-0.4,
        smoker=-0.1,
        scatter=0.4,
        day_scatter=0.25,
    )
    """Amplitude over mean RR: 3 % at 50; halves in thirty years (Umetani 1998)."""
    log_slow_variability: Trend = Trend(
        base=-3.7, decade=-0.16, diabetes=-0.3, failure=-0.5, scatter=0.4, day_scatter=0.25
    )
    """The 0.1 Hz component, which falls more slowly with age and most in heart failure."""
    pr_ms: Trend = Trend(base=154.0, decade=4.0, male=6.0, bmi=3.0, scatter=19.0, day_scatter=5.0)
    """Soliman 2014: 150 to 170 ms, 3 to 5 ms per decade, longer in men."""
    p_duration_ms: Trend = Trend(
        base=102.0, decade=2.0, male=3.0, bmi=3.0, hypertension=4.0, failure=5.0, scatter=9.0
    )
    """Magnani 2010: 105 ms, longer with age, body mass and pressure."""
    log_p_amplitude: Trend = Trend(base=0.0, decade=-0.03, copd=0.25, scatter=0.2, day_scatter=0.06)
    """Right atrial load in COPD gives tall P waves."""
    qrs_ms: Trend = Trend(
        base=86.0, decade=0.8, male=8.0, sbp=0.4, hypertension=2.0, infarct=3.0, failure=7.0,
        scatter=7.0, day_scatter=2.0,
    )  # fmt: skip
    """Rijnbeek 2014: women 86, men 95 ms; widens with left ventricular mass and failure."""
    right_block: Trend = Trend(base=-4.0, decade=0.6, male=0.5, copd=0.5)
    """Eriksson 1998: 1 % of men at 50, 11 % at 80 (logit)."""
    left_block: Trend = Trend(base=-5.2, decade=0.55, hypertension=0.3, infarct=0.6, failure=1.6)
    """0.4 % at 50, 6 % at 80, a quarter of severe heart failure (logit)."""
    block_qrs_ms: Trend = Trend(base=140.0, failure=8.0, scatter=10.0)
    """Complete bundle branch block begins at 120 ms."""
    qtc_ms: Trend = Trend(
        base=416.0, decade=2.5, male=-9.0, sbp=0.8, hypertension=3.0, diabetes=5.0, infarct=4.0,
        failure=10.0, scatter=15.0, day_scatter=8.0,
    )  # fmt: skip
    """Fridericia's; women 10 ms longer, up with age, diabetes and failure (Rijnbeek 2014)."""
    axis_degrees: Trend = Trend(
        base=47.0, decade=-8.0, male=-3.0, sbp=-1.5, bmi=-10.0, hypertension=-4.0, copd=18.0,
        scatter=24.0, day_scatter=5.0,
    )  # fmt: skip
    """Moves left from 60 degrees at 30 to 20 at 80, and with body mass; right in COPD."""
    log_voltage: Trend = Trend(
        base=-0.05, decade=-0.03, male=0.1, sbp=0.035, bmi=-0.16, hypertension=0.07, copd=-0.12,
        scatter=0.2, day_scatter=0.05,
    )  # fmt: skip
    """Sokolow-Lyon voltage rises some 4 % per 10 mmHg; fat and air around the heart lower it."""
    t_amplitude: Trend = Trend(
        base=0.95, decade=-0.05, male=0.22, smoker=-0.07, cholesterol=-0.02, diabetes=-0.12,
        hypertension=-0.06, infarct=-0.15, failure=-0.18, scatter=0.24, day_scatter=0.09,
    )  # fmt: skip
    """Relative to 0.4 mV in space; men's are a quarter larger; flat T in diabetes and failure."""
    t_angle_degrees: Trend = Trend(
        base=0.0, decade=4.0, sbp=1.8, smoker=3.0, cholesterol=1.5, hypertension=7.0, diabetes=6.0,
        infarct=22.0, failure=24.0, scatter=16.0, day_scatter=6.0,
    )  # fmt: skip
    """Angle of T away from QRS: the frontal and spatial QRS-T angle of Kardys 2003 (Rotterdam)."""
    st_level_mv: Trend = Trend(
        base=0.015, decade=-0.008, male=0.02, smoker=-0.004, sbp=-0.003, hypertension=-0.008,
        infarct=-0.02, failure=-0.015, scatter=0.025, day_scatter=0.012,
    )  # fmt: skip
    """Early repolarisation in young men, depression in strain and ischaemia: tens of microvolts."""
    log_ventricular_ectopy: Trend = Trend(
        base=-6.3,
        decade=0.35,
        hypertension=0.2,
        infarct=0.8,
        failure=1.3,
        scatter=1.3,
        day_scatter=0.6,
    )
    """Fraction of beats: 1 in 500 at 50, several per cent in failure; skewed over people."""
    log_atrial_ectopy: Trend = Trend(
        base=-6.0, decade=0.45, fibrillation=0.8, copd=0.4, scatter=1.1, day_scatter=0.6
    )
    """Fraction of beats: doubles in fifteen years; a forerunner of fibrillation (Binici 2010)."""
    fibrillation_rate_bpm: float = 14.0
    """Increase of the heart rate during fibrillation."""
    visible_scar_fraction: float = 0.6
    """Fraction of old infarcts that still show a Q wave."""


CLINICAL = ClinicalTable()
RECORD_KEEPING = RecordKeepingTable()
HEART = HeartTable()
