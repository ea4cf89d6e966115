"""Writes a patient's laboratory rows: lipid panels among other results."""

import datetime

import numpy as np

from clef_jax.simulation.coefficient import RECORD_KEEPING
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.visit import MAX_VISITS, Visit

COLUMNS = (
    "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,"
    "valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments"
)

TOTAL_CHOLESTEROL, HDL = 50907, 50904
"""MIMIC-IV's item ids of "Cholesterol, Total" and "Cholesterol, HDL"."""
_CREATININE = 50912

_REFERENCE = {TOTAL_CHOLESTEROL: (0, 199), HDL: (41, ""), _CREATININE: (0.4, 1.1)}
_ROWS_PER_VISIT = 3
_PANEL_GAP_DAYS = 365
_TOTAL_SCATTER_MG_DL, _HDL_SCATTER_MG_DL = 10.0, 4.0
"""Standard deviations within a person from panel to panel (about 6 and 8 %)."""

Row = list[object]
Stay = tuple[int, datetime.datetime, datetime.datetime]


def rows(
    rng: np.random.Generator, patient: Patient, visits: list[Visit], stays: list[Stay]
) -> list[Row]:
    """Returns rows of creatinine per ECG, and for some patients of a lipid panel once a year."""
    has_lipids = rng.random() >= RECORD_KEEPING.lipids_missing_fraction
    has_hdl = rng.random() >= RECORD_KEEPING.hdl_missing_fraction
    laboratory_rows: list[Row] = []
    last_panel = None
    for visit in visits:
        time = visit.time + datetime.timedelta(minutes=int(rng.integers(-2000, 2000)))
        total = max(patient.total_cholesterol_mg_dl + _TOTAL_SCATTER_MG_DL * rng.normal(), 60.0)
        hdl = max(patient.hdl_mg_dl + _HDL_SCATTER_MG_DL * rng.normal(), 12.0)
        creatinine = np.exp(rng.normal(-0.1 + 0.15 * patient.male + 0.2 * patient.failure, 0.25))
        results = {_CREATININE: (round(float(creatinine), 1), "mg/dL")}
        due = last_panel is None or (time - last_panel).days >= _PANEL_GAP_DAYS
        if has_lipids and due:
            last_panel = time
            results[TOTAL_CHOLESTEROL] = (round(float(total)), "mg/dL")
            if has_hdl:
                results[HDL] = (round(float(min(hdl, 0.8 * total))), "mg/dL")
        unreadable = rng.random(_ROWS_PER_VISIT) < RECORD_KEEPING.unreadable_lab_fraction
        hadm_id = next((stay[0] for stay in stays if stay[1] <= time <= stay[2]), "")
        serial = (patient.index * MAX_VISITS + visit.number) * _ROWS_PER_VISIT
        for number, (item, (value, unit)) in enumerate(results.items()):
            laboratory_rows.append(
                _row(patient, hadm_id, serial + number, item, time, value, unit, unreadable[number])
            )
    return laboratory_rows


def _row(
    patient: Patient,
    hadm_id: object,
    serial: int,
    item: int,
    time: datetime.datetime,
    value: float,
    unit: str,
    unreadable: bool,
) -> Row:
    low, high = _REFERENCE[item]
    abnormal = value < low or (high != "" and value > high)
    stored = time + datetime.timedelta(hours=2)
    return [
        serial + 1, patient.subject_id, hadm_id, 10_000_000 + serial, item, "", time, stored,
        "___" if unreadable else value, "" if unreadable else value, unit, low, high,
        "abnormal" if abnormal and not unreadable else "", "ROUTINE", "___" if unreadable else "",
    ]  # fmt: skip
