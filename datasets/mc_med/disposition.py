"""Turns what MC-MED says about the end of a visit, and its urgency, into classes."""

import re

ED_CLASSES = ("discharge", "inpatient", "observation", "icu")
DISCHARGE_CLASSES = (
    "home",
    "care_facility",
    "hospital_transfer",
    "death_or_hospice",
    "psychiatric_or_rehabilitation",
    "other",
)
ACUITY_CLASSES = ("1", "2", "3", "4", "5")

# The public PyTorch reference tests for these in this order. So "Home Health Care" is home.
_WORDS = (
    ("home", ("home", "work", "against medical advice")),
    ("care_facility", ("home health", "skilled nursing", "residential", "custodial")),
    (
        "hospital_transfer",
        (
            "acute care hospital",
            "long term care hospital",
            "federal hospital",
            "children's hospital",
            "critical access",
            "planned inpatient readmission",
        ),
    ),
    ("death_or_hospice", ("expired", "hospice", "organ", "donor")),
    ("psychiatric_or_rehabilitation", ("psychiatric", "inpatient rehabilitation")),
)
_NOTHING = {"", "nan", "null", "none", "na", "n/a"}
_ACUITY = re.compile(r"([1-5])(?!\d)(?!\.\d*[1-9])")


def is_known(text: str | None) -> bool:
    """Whether a cell says anything at all."""
    return (text or "").strip().lower() not in _NOTHING


def ed_disposition(text: str | None) -> str:
    """Where the patient went from the emergency department; empty for anything unknown."""
    found = (text or "").strip().lower()
    return found if found in ED_CLASSES else ""


def discharge_disposition(text: str | None) -> str:
    """Where the patient went in the end: the first class with a word of the text; empty if there is
    no text."""
    if not is_known(text):
        return ""
    found = (text or "").replace("\u2019", "'").lower()
    for name, words in _WORDS:
        if any(word in found for word in words):
            return name
    return "other"


def acuity(text: str | None) -> str:
    """The level of "2-Emergent"; empty for anything unknown."""
    found = _ACUITY.match((text or "").strip())
    return found[1] if found else ""
