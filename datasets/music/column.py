"""Columns of subject-info.csv, and the labels that are stored from them."""

import dataclasses
import math

from clef_jax.data.record import Label

ID = "Patient ID"
CAUSE = "Cause of death"
HAS_HOLTER = "Holter available"
AGE = "Age"
MALE = "Gender (male=1)"
DIABETES = "Diabetes (yes=1)"
SYSTOLIC = "Systolic blood pressure (mmHg)"
CHOLESTEROL = "Total Cholesterol (mmol/L)"
HDL = "HDL (mmol/L)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """A column that is stored as a label."""

    column: str
    label: Label
    low: float
    """Lowest plausible value; lower ones are stored as unknown."""
    high: float
    """Highest plausible value, likewise."""


def _number(
    name: str, column: str, low: float, high: float, description: str, unit: str = ""
) -> Number:
    label = Label(name=name, kind="number", unit=unit, description=description)
    return Number(column=column, label=label, low=low, high=high)


NUMBERS = (
    _number(
        "follow_up_days",
        "Follow-up period from enrollment (days)",
        0,
        20_000,
        "Time from enrolment to the end of the follow-up",
        "days",
    ),
    _number(
        "exit_of_study",
        "Exit of the study",
        -math.inf,
        math.inf,
        "Code of how the follow-up ended: 1 lost, 2 transplant, 3 death; survivors have none",
    ),
    _number("lvef_percent", "LVEF (%)", 1, 100, "Ejection fraction of the left ventricle", "%"),
    _number("nyha_class", "NYHA class", 1, 4, "NYHA class, 1 to 4"),
    _number(
        "dbp_mmhg",
        "Diastolic blood pressure (mmHg)",
        20,
        200,
        "Diastolic blood pressure",
        "mmHg",
    ),
    _number("weight_kg", "Weight (kg)", 1, 400, "Weight", "kg"),
    _number("height_cm", "Height (cm)", 30, 250, "Height", "cm"),
    _number(
        "prior_infarction",
        "Prior Myocardial Infarction (yes=1)",
        0,
        1,
        "Whether the patient had had a myocardial infarction, yes is 1 and no is 0",
    ),
    _number(
        "holter_rhythm",
        "Holter rhythm",
        -math.inf,
        math.inf,
        "Rhythm during the Holter, in the source's own code; 0 is sinus rhythm",
    ),
)
OPTIONAL = (
    *(CAUSE, HAS_HOLTER, AGE, MALE, DIABETES, SYSTOLIC, CHOLESTEROL, HDL),
    *(number.column for number in NUMBERS),
)


def key(name: str) -> str:
    """Returns a column's name without spaces and in lower case, for comparison."""
    return "".join(name.split()).lower()
