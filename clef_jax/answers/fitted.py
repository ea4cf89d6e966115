"""Facts about the recordings that a head was fitted to, and what lies outside them.

They hold no value of a single patient: a range is stated only over several patients.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clef_jax import leads as leads_lib

OTHER_RATE, OTHER_LEAD, OTHER_AGE = "unfitted_rate", "unfitted_lead", "unfitted_age"
"""Problem codes of recordings that are unlike those that a head was fitted to."""
_ROUNDING = 1e-3
"""Relative difference of two sampling rates that are the same but for rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """Facts about the labelled recordings of a head; None or empty where they are unknown."""

    recordings: int | None = None
    """Number of recordings."""
    patients: int | None = None
    """Number of patients."""
    positives: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Number of positive recordings by output, of a classification."""
    leads: tuple[str, ...] = ()
    """Names of the leads."""
    sample_rate_hz: tuple[float, float] | None = None
    """Lowest and highest sampling rate in Hz."""
    age_years: tuple[float, float] | None = None
    """Lowest and highest age in years; round it, so that it is no value of a single patient."""
    split: str | None = None
    """Sentence that says how the recordings were divided for cross-validation."""

    def to_json(self) -> dict[str, Any]:
        """Returns what is known, as JSON types; it suits `Head.fitted`."""
        values = {
            "recordings": self.recordings,
            "patients": self.patients,
            "positives": dict(self.positives) or None,
            "leads": list(self.leads) or None,
            "sample_rate_hz": self.sample_rate_hz and list(self.sample_rate_hz),
            "age_years": self.age_years and list(self.age_years),
            "split": self.split,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> "Fitted":
        """Returns the facts in `Head.fitted`; those of other types or names are ignored."""
        given = value or {}
        positives, leads = given.get("positives"), given.get("leads")
        counts = positives.items() if isinstance(positives, Mapping) else ()
        return cls(
            recordings=_count(given.get("recordings")),
            patients=_count(given.get("patients")),
            positives={str(name): count for name, count in counts if isinstance(count, int)},
            leads=tuple(map(str, leads)) if isinstance(leads, list) else (),
            sample_rate_hz=_range(given.get("sample_rate_hz")),
            age_years=_range(given.get("age_years")),
            split=given["split"] if isinstance(given.get("split"), str) else None,
        )

    def outside(
        self, *, sample_rate_hz: float, lead: str | None = None, age_years: float | None = None
    ) -> tuple[str, ...]:
        """Returns the problem codes of a recording that is unlike those that the head was fitted
        to; what is unknown on either side has no code.

        Args:
            sample_rate_hz: sampling rate of the recording.
            lead: name of the lead; by default several leads, which are not compared.
            age_years: age of the patient.
        """
        codes = []
        if self.sample_rate_hz is not None:
            low_hz, high_hz = self.sample_rate_hz
            if not low_hz * (1 - _ROUNDING) <= sample_rate_hz <= high_hz * (1 + _ROUNDING):
                codes.append(OTHER_RATE)
        if lead and self.leads and not any(leads_lib.same_lead(x, lead) for x in self.leads):
            codes.append(OTHER_LEAD)
        if age_years is not None and self.age_years is not None:
            low_years, high_years = self.age_years
            if not low_years <= age_years <= high_years:
                codes.append(OTHER_AGE)
        return tuple(codes)

    def describe(self, codes: Sequence[str]) -> list[str]:
        """Returns a sentence for each problem code of `outside`; none states an age."""
        low_hz, high_hz = self.sample_rate_hz or (0, 0)
        rates = f"{low_hz:g} Hz" if low_hz == high_hz else f"{low_hz:g} to {high_hz:g} Hz"
        sentences = {
            OTHER_RATE: f"The head was fitted to recordings at {rates}.",
            OTHER_LEAD: f"The head was fitted to lead {', '.join(self.leads)}.",
            OTHER_AGE: "The patient's age is outside the ages that the head was fitted to.",
        }
        return [sentences[code] for code in codes]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _range(value: Any) -> tuple[float, float] | None:
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(isinstance(x, int | float) and math.isfinite(x) for x in value):
        return None
    return float(value[0]), float(value[1])
