"""Maps MC-MED's texts about dispositions and acuity to classes."""

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

# The public PyTorch reference tests for these words in this order, so "Home Health Care" is home.
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
    """Returns whether a cell has a value."""
    return (text or "").strip().lower() not in _NOTHING


def ed_disposition(text: str | None) -> str:
    """Returns the class of the disposition from the emergency department; empty if unknown."""
    name = (text or "").strip().lower()
    return name if name in ED_CLASSES else ""


def discharge_disposition(text: str | None) -> str:
    """Returns the class of the disposition at discharge: the first with a word in the text.

    Returns `other` for other texts, and an empty text if the disposition is unknown.
    """
    if not is_known(text):
        return ""
    cleaned = (text or "").replace("\u2019", "'").lower()
    for name, words in _WORDS:
        if any(word in cleaned for word in words):
            return name
    return "other"


def acuity(text: str | None) -> str:
    """Returns the level of a text such as "2-Emergent"; empty if unknown."""
    match = _ACUITY.match((text or "").strip())
    return match[1] if match else ""
