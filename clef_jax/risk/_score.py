"""Definition of a risk score, and checks of its inputs."""

import dataclasses
from collections.abc import Callable

import numpy as np

from clef_jax import plugin
from clef_jax.errors import UserError, WrongArgument

REGIONS = ("low", "moderate", "high", "very_high")
"""The European risk regions of the ESC scores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A clinical risk score: one module of this package that defines `SCORE`."""

    name: str
    inputs: tuple[str, ...]
    """Inputs of a patient that the score needs: keyword arguments of `function`, whose names end
    with their units."""
    function: Callable[..., np.ndarray]
    """Maps arrays of `inputs` and a `region` to the risk in [0, 1]; NaN where an input is NaN."""
    regions: tuple[str, ...] = REGIONS
    """Risk regions for which `function` is calibrated."""
    ages_years: tuple[float, float]
    """Valid age range; ages outside are clipped to it."""
    horizon_years: float = 10.0
    """Time within which the predicted events occur."""
    citation: str

    def extrapolated(self, age_years: np.typing.ArrayLike) -> np.ndarray:
        """Returns a mask, bool, of ages outside of the valid range; False where the age is NaN."""
        age = np.asarray(age_years, float)
        return (age < self.ages_years[0]) | (age > self.ages_years[1])


def check_region(region: str, regions: tuple[str, ...] = REGIONS) -> None:
    """Rejects a region for which the score is not calibrated.

    Raises:
        UserError: the region is unknown; the message proposes the nearest.
    """
    if region not in regions:
        raise WrongArgument(plugin.unknown("risk region", region, regions))


def check_binary(**values: np.ndarray) -> None:
    """Rejects binary inputs with another value than 0, 1 or NaN, such as a percentage or a code.

    Raises:
        UserError: an input has such a value; the message names the input.
    """
    for name, value in values.items():
        if not np.isin(value[~np.isnan(value)], (0, 1)).all():
            raise UserError(f"{name} must be 0 or 1, or NaN where it is unknown.")


def to_arrays(**values: np.typing.ArrayLike) -> dict[str, np.ndarray]:
    """Returns the inputs as arrays, float64, with NaN where a masked array is masked.

    Raises:
        UserError: an input is not numeric; the message names it.
    """
    arrays = {}
    for name, value in values.items():
        try:
            arrays[name] = (
                np.ma.filled(value.astype(float), np.nan)
                if isinstance(value, np.ma.MaskedArray)
                else np.asarray(value, float)
            )
        except (TypeError, ValueError):
            raise UserError(
                f"{name} must be numbers, or NaN where they are unknown, not text such as 'yes' "
                "or '<5'."
            ) from None
    return arrays
