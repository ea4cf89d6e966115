"""Values as tables of text write them; what is no value becomes NaN or None, never zero."""

import math

_YES, _NO = {"1", "yes", "true", "y"}, {"0", "no", "false", "n"}


def number(text: str | None) -> float:
    """A finite number, with a decimal point or comma; NaN for anything else."""
    if text is None:
        return math.nan
    try:
        found = float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def between(text: str | None, low: float, high: float) -> float:
    """A number from `low` to `high`; NaN for anything else."""
    found = number(text)
    return found if low <= found <= high else math.nan


def integer_text(text: str | None) -> str:
    """An identifier without the `.0` that tables with gaps add to it; empty if there is none."""
    cleaned = (text or "").strip()
    whole, _, rest = cleaned.partition(".")
    return whole if whole.lstrip("-").isdigit() and not rest.strip("0") else cleaned


def yes(text: str | None) -> float:
    """1 for yes, 0 for no, NaN for anything else."""
    cleaned = integer_text(text).lower()
    return 1.0 if cleaned in _YES else 0.0 if cleaned in _NO else math.nan


def male(text: str | None) -> float:
    """1 for M or Male, 0 for F or Female, NaN for anything else."""
    first = (text or "").strip().lower()
    return {"m": 1.0, "male": 1.0, "f": 0.0, "female": 0.0}.get(first, math.nan)
