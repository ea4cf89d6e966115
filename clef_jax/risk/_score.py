"""What a risk score is."""

import dataclasses
from collections.abc import Callable

import numpy as np

from clef_jax import plugin
from clef_jax.errors import UserError

REGIONS = ("low", "moderate", "high", "very_high")
"""The European risk regions of the ESC scores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A clinical risk score: one file of this package that defines `SCORE`."""

    name: str
    inputs: tuple[str, ...]
    """Keyword arguments of `function` that one patient must have, with their units in the name."""
    function: Callable[..., np.ndarray]
    """Vectorised; takes `inputs` and `region`, returns the risk in [0, 1], NaN where one is NaN."""
    regions: tuple[str, ...] = REGIONS
    """Calibrations that `function` knows."""
    ages_years: tuple[float, float]
    """The ages that the score was derived for; others are moved to the nearest end."""
    horizon_years: float = 10.0
    citation: str

    def extrapolated(self, age_years: np.typing.ArrayLike) -> np.ndarray:
        """True where the age lies outside of the score's own range; False where it is NaN."""
        age = np.asarray(age_years, float)
        return (age < self.ages_years[0]) | (age > self.ages_years[1])


def check_region(region: str, regions: tuple[str, ...] = REGIONS) -> None:
    """Rejects a region that the score has no calibration for.

    Raises:
        UserError: the region is unknown; the message proposes the nearest.
    """
    if region not in regions:
        raise UserError(plugin.unknown("risk region", region, regions))


def check_binary(**values: np.ndarray) -> None:
    """Refuses yes-no inputs that are neither 0, 1 nor NaN: a percentage or a code, for example."""
    for name, value in values.items():
        if not np.isin(value[~np.isnan(value)], (0, 1)).all():
            raise UserError(f"{name} must be 0 or 1, or NaN where it is unknown.")
