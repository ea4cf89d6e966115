"""Settings of the augmentation; separate from it, because the command line imports no jax."""

import dataclasses
import math
from typing import ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of one view; the defaults are the paper's."""

    noise_probability: float = 0.8
    """Fraction of views with noise; motion, electrode, baseline and mixture are equally likely."""
    noise_std_mv: float = 0.1
    """Population standard deviation of the added noise in mV."""
    mask_probability: float = 0.2
    """Fraction of views in which one run of samples is set to 0 mV."""
    mask_fraction_min: float = 0.1
    """Shortest masked run, as a fraction of the view."""
    mask_fraction_max: float = 0.3
    """Longest masked run, as a fraction of the view."""

    PAPER: ClassVar["AugmentConfig"]
    """The paper's: no noise or one of four kinds, 20 % each."""
    OFF: ClassVar["AugmentConfig"]
    """No augmentation."""

    def __post_init__(self):
        for name in ("noise_probability", "mask_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be in [0, 1].")
        if not (math.isfinite(self.noise_std_mv) and self.noise_std_mv >= 0):
            raise ValueError(f"noise_std_mv={self.noise_std_mv} must be finite and at least 0 mV.")
        if not 0 <= self.mask_fraction_min <= self.mask_fraction_max <= 1:
            raise ValueError(
                f"mask_fraction_min={self.mask_fraction_min} and mask_fraction_max="
                f"{self.mask_fraction_max} must satisfy 0 <= minimum <= maximum <= 1."
            )


AugmentConfig.PAPER = AugmentConfig()
AugmentConfig.OFF = AugmentConfig(noise_probability=0.0, mask_probability=0.0)
