"""Writes a patient's rows of the hospital tables, as in MIMIC-IV's `hosp` module.

Rows are lists in the order of `COLUMNS`. As in real records, values are missing, codes are
incomplete, and pressures differ from day to day.
"""

import datetime
from collections.abc import Iterator

import numpy as np

from clef_jax.simulation import laboratory, stream
from clef_jax.simulation.coefficient import RECORD_KEEPING
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.visit import Visit, shuffled_serial

COLUMNS = {
    "patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "admissions": (
        "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
        "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,"
        "edouttime,hospital_expire_flag"
    ),
    "diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "omr": "subject_id,chartdate,seq_num,result_name,result_value",
    "labevents": laboratory.COLUMNS,
}
"""Columns of each table in MIMIC-IV 3."""

_ICD_CODES = {
    "hypertension": ("4019", "I10"),
    "diabetes": ("25000", "E119"),
    "infarct": ("412", "I252"),
    "failure": ("4280", "I509"),
    "fibrillation": ("42731", "I4891"),
    "copd": ("496", "J449"),
    "high_cholesterol": ("2724", "E785"),
    "smoker": ("3051", "F17210"),
    "former_smoker": ("V1582", "Z87891"),
    "chest_pain": ("78650", "R079"),
}
"""ICD-9 and ICD-10 codes, without dots."""
_ICD_9_FRACTION = 0.45
_HIGH_CHOLESTEROL_MG_DL = 220.0

Row = list[object]
Stay = tuple[int, datetime.datetime, datetime.datetime]
"""Admission: hadm_id, time of admission, time of discharge."""


def tables(seed: int, patient: Patient, visits: list[Visit]) -> dict[str, list[Row]]:
    """Returns all rows about one patient, by table."""
    rng = stream.make(seed, patient.index, "hospital")
    stays = _sample_stays(rng, patient, visits)
    return {
        "patients": [_patient_row(rng, patient, visits)],
        "admissions": [_admission_row(rng, patient, stay) for stay in stays],
        "diagnoses_icd": [row for stay in stays for row in _diagnoses(rng, patient, stay[0])],
        "omr": sorted(_clinic_rows(rng, patient, visits), key=lambda row: str(row[1])),
        "labevents": laboratory.rows(rng, patient, visits, stays),
    }


def _sample_stays(rng: np.random.Generator, patient: Patient, visits: list[Visit]) -> list[Stay]:
    """Samples admissions around ECGs; an ECG during a stay starts no further one."""
    stays: list[Stay] = []
    for visit in visits:
        wanted = RECORD_KEEPING.later_ecg_admitted_fraction
        if visit.number == 0:
            wanted = RECORD_KEEPING.first_ecg_admitted_fraction
        admitted, before, length_days = rng.random() < wanted, rng.random(), rng.exponential(4.0)
        if not admitted or (stays and visit.time <= stays[-1][2]):
            continue
        begin = visit.time - datetime.timedelta(minutes=int(before * 10 * 60))
        begin = max(begin, stays[-1][2]) if stays else begin
        end = visit.time + datetime.timedelta(minutes=int((0.4 + length_days) * 24 * 60))
        serial = shuffled_serial(patient, visit.number, multiplier=7_320_509)
        stays.append((20_000_000 + serial, begin, end))
    return stays


def _patient_row(rng: np.random.Generator, patient: Patient, visits: list[Visit]) -> Row:
    died_on = visits[-1].time.date() + datetime.timedelta(days=30 + int(rng.integers(330)))
    return [
        patient.subject_id,
        "M" if patient.male else "F",
        patient.stored_age_years,
        patient.anchor_year,
        patient.anchor_year_group,
        died_on if patient.died else "",
    ]


def _admission_row(rng: np.random.Generator, patient: Patient, stay: Stay) -> Row:
    hadm_id, begin, end = stay
    arrived = begin - datetime.timedelta(hours=5)
    provider = f"P{int(rng.integers(1000)):03d}{'ABCDEFGH'[int(rng.integers(8))]}X"
    home = rng.random() < 0.75
    return [
        patient.subject_id, hadm_id, begin, end, "", "EW EMER.", provider, "EMERGENCY ROOM",
        "HOME" if home else "SKILLED NURSING FACILITY",
        "Medicare" if patient.anchor_age_years >= 65 else "Private", "English",
        ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED")[int(rng.integers(4))], "UNKNOWN",
        arrived, begin, 0,
    ]  # fmt: skip


def _diagnoses(rng: np.random.Generator, patient: Patient, hadm_id: int) -> Iterator[Row]:
    """Yields the diagnoses of an admission: chest pain and the coded chronic conditions."""
    version = 9 if rng.random() < _ICD_9_FRACTION else 10
    keeping = RECORD_KEEPING
    present = {
        name: getattr(patient, name) * keeping.diagnosis_coded_fraction
        for name in ("hypertension", "diabetes", "infarct", "failure", "fibrillation", "copd")
    }
    high = patient.total_cholesterol_mg_dl > _HIGH_CHOLESTEROL_MG_DL
    present["high_cholesterol"] = high * keeping.diagnosis_coded_fraction
    present["smoker"] = (patient.smoking == "current") * keeping.smoker_coded_fraction
    present["former_smoker"] = (patient.smoking == "former") * keeping.former_smoker_coded_fraction
    uniform = rng.random(len(present))
    coded = [
        name
        for (name, fraction), number in zip(present.items(), uniform, strict=True)
        if number < fraction
    ]
    for number, name in enumerate(["chest_pain", *coded], start=1):
        code = _ICD_CODES[name][0 if version == 9 else 1]
        yield [patient.subject_id, hadm_id, number, code, version]


def _clinic_rows(rng: np.random.Generator, patient: Patient, visits: list[Visit]) -> Iterator[Row]:
    """Yields blood pressure and body size rows of the outpatient record."""
    has_pressure = rng.random() >= RECORD_KEEPING.pressure_missing_fraction
    has_size = rng.random() >= RECORD_KEEPING.body_size_missing_fraction
    seen = set()
    for visit in visits:
        # Most readings are shortly before the ECG, none a year away.
        days = -int(min(rng.exponential(60.0), 340.0)) + int(rng.integers(0, 15))
        date = visit.time.date() + datetime.timedelta(days=days)
        posture, lying = rng.random(), rng.random()
        pressure, later = _sample_pressure(rng, patient), _sample_pressure(rng, patient)
        weight_change = rng.normal(0.0, 0.02)
        if date in seen:
            continue
        seen.add(date)
        if has_pressure:
            yield [patient.subject_id, date, 1, "Blood Pressure", pressure]
            if posture < RECORD_KEEPING.postural_pressure_fraction:
                name = f"Blood Pressure {'Lying' if lying < 0.5 else 'Standing'}"
                yield [patient.subject_id, date, 1, name, later]
        if has_size:
            bmi_kg_m2 = patient.bmi_kg_m2 * (1.0 + weight_change)
            # 703 is the factor of the definition in pounds and inches.
            weight_lbs = bmi_kg_m2 * patient.height_inches**2 / 703.0
            yield [patient.subject_id, date, 1, "BMI (kg/m2)", f"{bmi_kg_m2:.1f}"]
            yield [patient.subject_id, date, 1, "Height (Inches)", f"{patient.height_inches:.1f}"]
            yield [patient.subject_id, date, 1, "Weight (Lbs)", f"{weight_lbs:.1f}"]


def _sample_pressure(rng: np.random.Generator, patient: Patient) -> str:
    scatter_mmhg = RECORD_KEEPING.pressure_day_scatter_mmhg
    sbp_mmhg = patient.sbp_mmhg + scatter_mmhg * rng.normal()
    dbp_mmhg = patient.dbp_mmhg + 0.6 * scatter_mmhg * rng.normal()
    return f"{max(sbp_mmhg, 70.0):.0f}/{min(max(dbp_mmhg, 35.0), sbp_mmhg - 15.0):.0f}"
