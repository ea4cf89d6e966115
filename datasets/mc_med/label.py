"""The labels of a visit of MC-MED."""

import math

from clef_jax import risk
from clef_jax.building import value
from clef_jax.data.record import Label
from clef_jax.finding import Findings

from . import disposition
from .visit import Row

LOWEST_SBP_MMHG, HIGHEST_SBP_MMHG = risk.LIMITS["sbp_mmhg"].low, risk.LIMITS["sbp_mmhg"].high
LOWEST_DBP_MMHG, HIGHEST_DBP_MMHG = 20, 200
LABELS = (
    Label(
        name="ed_disposition",
        kind="class",
        classes=disposition.ED_CLASSES,
        description="Where the patient went from the emergency department",
    ),
    Label(
        name="discharge_disposition",
        kind="class",
        classes=disposition.DISCHARGE_CLASSES,
        description="Where the patient went at the end of the stay",
    ),
    Label(
        name="acuity",
        kind="class",
        classes=disposition.ACUITY_CLASSES,
        description="Emergency severity at triage, 1 is the most urgent",
    ),
    Label(
        name="triage_sbp_mmhg",
        kind="number",
        unit="mmHg",
        description="Systolic at triage",
    ),
    Label(
        name="triage_dbp_mmhg",
        kind="number",
        unit="mmHg",
        description="Diastolic at triage",
    ),
    Label(name="num_segments", kind="number", description="Number of segments of lead II"),
)


def sbp_mmhg(row: Row) -> float:
    """Returns the systolic pressure at triage in mmHg; NaN if unknown or implausible."""
    return value.between(row["Triage_SBP"], LOWEST_SBP_MMHG, HIGHEST_SBP_MMHG)


def known(row: Row, record_id: str, findings: Findings) -> dict[str, str | float]:
    """Returns the labels of a visit, and adds findings about unknown and implausible values.

    Such values are stored as unknown.
    """
    classes = {
        "ed_disposition": (row["ED_dispo"], disposition.ed_disposition),
        "discharge_disposition": (row["DC_dispo"], disposition.discharge_disposition),
        "acuity": (row["Triage_acuity"], disposition.acuity),
    }
    labels: dict[str, str | float] = {name: rule(text) for name, (text, rule) in classes.items()}
    for name, (text, _) in classes.items():
        if not labels[name] and disposition.is_known(text):
            detail = f"The visit's {name} has no known class and is stored as unknown."
            findings.keep(record_id, "unknown_class", detail)
    pressures = {
        "triage_sbp_mmhg": (row["Triage_SBP"], LOWEST_SBP_MMHG, HIGHEST_SBP_MMHG),
        "triage_dbp_mmhg": (row["Triage_DBP"], LOWEST_DBP_MMHG, HIGHEST_DBP_MMHG),
    }
    for name, (text, low, high) in pressures.items():
        labels[name] = value.between(text, low, high)
        if math.isnan(value.between(text, low, high)) and not math.isnan(value.number(text)):
            detail = f"The visit's {name} is outside {low}-{high} and is stored as unknown."
            findings.keep(record_id, "implausible_value", detail)
    return labels
