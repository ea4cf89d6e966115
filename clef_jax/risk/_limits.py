"""Plausible limits of the scores' inputs. A value outside is in another unit, or wrong."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from clef_jax.errors import UserError

MG_DL_PER_MMOL_L = 38.67
"""Milligrams per decilitre of cholesterol in a millimole per litre."""
_ROUNDING = 1e-5
"""Relative error of values that were stored as float32 or converted by a rounded factor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The lowest and highest plausible value of an input."""

    low: float
    high: float
    unit: str
    other_units: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Units in which the value is often given, with the factor and the addend that convert them to
    `unit`."""

    def outside(self, value: np.typing.ArrayLike) -> np.ndarray:
        """Returns a mask, bool, of values outside the limits; False where the value is NaN."""
        given = np.asarray(value, float)
        slack = _ROUNDING * np.array([abs(self.low), abs(self.high)])
        return (given < self.low - slack[0]) | (given > self.high + slack[1])

    def likely_units(self, value: float) -> str:
        """Returns the units in which a value would be plausible, with their conversions."""
        likely = [
            f"{unit} ({_conversion(factor, addend)})"
            for unit, (factor, addend) in self.other_units.items()
            if not self.outside(value * factor + addend)
        ]
        return " or ".join(likely)


def _conversion(factor: float, addend: float) -> str:
    scaled = f"divide by {1 / factor:.6g}" if factor < 1 else f"multiply by {factor:.6g}"
    return scaled + (f" and subtract {-addend:.6g}" if addend else "")


_YEARS = Limits(
    low=0, high=120, unit="years", other_units={"months": (1 / 12, 0), "days": (1 / 365.25, 0)}
)
_MMOL_L = {"mg/dL": (1 / MG_DL_PER_MMOL_L, 0.0), "g/L": (100 / MG_DL_PER_MMOL_L, 0.0)}
LIMITS: Mapping[str, Limits] = {
    "age_years": _YEARS,
    "sbp_mmhg": Limits(
        low=50,
        high=300,
        unit="mmHg",
        other_units={"kPa": (7.50062, 0), "cmHg": (10, 0), "Pa": (0.00750062, 0)},
    ),
    "total_cholesterol_mmol_l": Limits(
        low=40 / MG_DL_PER_MMOL_L,
        high=1000 / MG_DL_PER_MMOL_L,
        unit="mmol/L",
        other_units=_MMOL_L,
    ),
    "hdl_mmol_l": Limits(
        low=5 / MG_DL_PER_MMOL_L,
        high=250 / MG_DL_PER_MMOL_L,
        unit="mmol/L",
        other_units=_MMOL_L,
    ),
    "diabetes_diagnosis_age_years": _YEARS,
    # Percentages are below 20, and hardly any value in mmol/mol is.
    "hba1c_mmol_mol": Limits(
        low=20, high=250, unit="mmol/mol", other_units={"%": (10.929, -23.497)}
    ),
    "egfr_ml_min_173m2": Limits(
        low=1, high=300, unit="ml/min per 1.73 m2", other_units={"ml/s per 1.73 m2": (60, 0)}
    ),
}
"""Limits of each input that has any, by its name."""


def check_limits(**values: np.ndarray) -> None:
    """Rejects values outside of the limits of their input, such as one in another unit.

    Raises:
        UserError: an input has such a value; the message names the input, the position in its
            array, and the unit in which the value would be plausible.
    """
    for name, value in values.items():
        positions = np.argwhere(LIMITS[name].outside(value))
        if len(positions):
            raise UserError(_sentence(name, value, positions), problem="implausible_value")


def exceeds_total(hdl: np.typing.ArrayLike, total: np.typing.ArrayLike) -> np.ndarray:
    """Returns a mask, bool, of HDL cholesterols above the total of which they are a part."""
    total = np.asarray(total, float)
    return np.asarray(hdl, float) > total + _ROUNDING * np.abs(total)


def _sentence(name: str, value: np.ndarray, positions: np.ndarray) -> str:
    limits, first = LIMITS[name], tuple(map(int, positions[0]))
    where = f" at position {first[0] if len(first) == 1 else first}" if first else ""
    wrong = float(value[first])
    more = f", like {len(positions) - 1:,} more" if len(positions) > 1 else ""
    likely = limits.likely_units(wrong)
    advice = (
        f"It is probably in {likely}; convert it."
        if likely
        else "Correct it, or give NaN if it is unknown."
    )
    return (
        f"{name} is {wrong:g}{where}{more}, outside the plausible {limits.low:.4g} to "
        f"{limits.high:.4g} {limits.unit}. {advice}"
    )
