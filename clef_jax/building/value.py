"""Parses values of text tables. Text that is not a value becomes NaN or empty, never zero."""

import math

_YES, _NO = {"1", "yes", "true", "y"}, {"0", "no", "false", "n"}


def number(text: str | None) -> float:
    """Returns a finite number, written with a decimal point or comma; NaN for other text."""
    if text is None:
        return math.nan
    try:
        parsed = float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan
    return parsed if math.isfinite(parsed) else math.nan


def between(text: str | None, low: float, high: float) -> float:
    """Returns a number from `low` to `high`; NaN for other text and numbers."""
    parsed = number(text)
    return parsed if low <= parsed <= high else math.nan


def integer_text(text: str | None) -> str:
    """Returns an identifier without the `.0` that tables with gaps add; empty if it is missing."""
    cleaned = (text or "").strip()
    whole, _, rest = cleaned.partition(".")
    return whole if whole.lstrip("-").isdigit() and not rest.strip("0") else cleaned


def yes(text: str | None) -> float:
    """Returns 1 for yes, 0 for no, NaN for other text."""
    cleaned = integer_text(text).lower()
    return 1.0 if cleaned in _YES else 0.0 if cleaned in _NO else math.nan


def male(text: str | None) -> float:
    """Returns 1 for M or Male, 0 for F or Female, NaN for other text."""
    cleaned = (text or "").strip().lower()
    return {"m": 1.0, "male": 1.0, "f": 0.0, "female": 0.0}.get(cleaned, math.nan)
