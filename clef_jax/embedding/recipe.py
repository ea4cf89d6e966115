"""Settings of the preprocessing before an encoder."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, ClassVar

from clef_jax import plugin
from clef_jax.embedding.preparation import PREPARATIONS, Preparation
from clef_jax.errors import WrongArgument

DEFAULT_RATE_HZ = 500.0
"""Sampling rate in Hz of MIMIC-IV-ECG, assumed for runs that do not state theirs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Preprocessing that is applied to a signal before the encoder."""

    sample_rate_hz: float = DEFAULT_RATE_HZ
    """Sampling rate of the encoder's input."""
    window_seconds: float = 10.0
    """Length of a window."""
    band_hz: tuple[float, float] | None = (0.67, 40.0)
    """Pass band of the filter in Hz; None disables the filter."""
    zscored: bool = True
    """Whether each window is scaled to mean 0 and standard deviation 1."""
    # Not part of repr, from which the fingerprints of models without a variant are computed.
    variant: str = dataclasses.field(default="", repr=False)
    """Name of a published preprocessing in `preparation.PREPARATIONS`, which replaces the filter
    and the scaling; empty for CLEF's."""
    pads_short: ClassVar[bool] = False
    """Whether a signal shorter than a window is padded on its left by missing samples; otherwise it
    is continued by its mirror image."""

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "Recipe":
        """Returns the preprocessing of a pre-training run; augmentation is no part of it.

        Args:
            run: settings and metadata of the data, as saved with a checkpoint.
        """
        return cls(
            sample_rate_hz=run.get("sample_rate_hz", DEFAULT_RATE_HZ),
            window_seconds=run["config"]["window_seconds"],
            band_hz=tuple(run["config"]["band_hz"]),
        )

    @classmethod
    def of_variant(cls, variant: str) -> "Recipe":
        """Returns a published preprocessing of windows of 10 s at 500 Hz.

        Args:
            variant: name in `preparation.PREPARATIONS`.
        """
        return cls(band_hz=PREPARATIONS[variant].band_hz, variant=variant)

    def without_variant(self) -> "Recipe":
        """Returns CLEF's preprocessing in place of a published variant, as the public CLEF
        reference feeds ECGFounder; itself if there is none."""
        if not self.variant:
            return self
        return dataclasses.replace(self, variant="", band_hz=Recipe().band_hz)

    @property
    def preparation(self) -> Preparation | None:
        """The published preprocessing; None for CLEF's."""
        return PREPARATIONS[self.variant] if self.variant else None

    @property
    def sentence(self) -> str:
        """Description of the published preprocessing, or of CLEF's for a network of others."""
        if self.preparation is not None:
            return self.preparation.sentence
        return "CLEF's band-pass and scale for each lead, as the public CLEF reference feeds it."

    @property
    def zero_gaps(self) -> bool:
        """Whether missing samples become zeros instead of being interpolated."""
        return self.preparation is not None and self.preparation.zero_gaps

    def settings(self) -> dict[str, Any]:
        """Returns the settings by name, without an empty variant, as files state them."""
        stated = dataclasses.asdict(self)
        return stated if self.variant else {k: v for k, v in stated.items() if k != "variant"}

    def num_samples(self, sample_rate_hz: float) -> int:
        """Returns the number of samples of a window at a sampling rate in Hz."""
        return round(self.window_seconds * sample_rate_hz)


PRESCRIBED, AS_REFERENCE = "prescribed", "as_reference"
ECGFOUNDER: Mapping[str, Recipe] = types.MappingProxyType(
    {**{name: Recipe.of_variant(name) for name in PREPARATIONS}, AS_REFERENCE: Recipe()}
)
"""Preprocessing of ECGFounder by name: the published variants, of which its authors prescribe the
first, and the one with which the public CLEF reference feeds the network, which is CLEF's own."""


def of_ecgfounder(variant: str | None) -> tuple[str, Recipe]:
    """Returns the name and the settings of a preprocessing of ECGFounder.

    Args:
        variant: name in `ECGFOUNDER`; by default, and for `prescribed`, the first.

    Raises:
        UserError: the variant is unknown; the message lists the available ones.
    """
    name = next(iter(ECGFOUNDER)) if variant in (None, PRESCRIBED) else variant
    if name not in ECGFOUNDER:
        message = plugin.unknown("variant of ECGFounder", name, ECGFOUNDER)
        raise WrongArgument(message, problem="unknown_variant")
    return name, ECGFOUNDER[name]


class PaddedRecipe(Recipe):
    """Preprocessing of an encoder that is told which samples of a short recording are missing."""

    pads_short = True
