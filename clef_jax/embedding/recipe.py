"""What is done to a signal before an encoder sees it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

DEFAULT_RATE_HZ = 500.0
"""Of runs that did not write down the rate of their data; MIMIC-IV-ECG's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to a signal before the encoder sees it."""

    sample_rate_hz: float = DEFAULT_RATE_HZ
    window_seconds: float = 10.0
    band_hz: tuple[float, float] | None = (0.67, 40.0)
    """Pass band of the filter; None filters nothing."""
    zscored: bool = True
    """Whether each window is scaled to mean 0 and deviation 1."""

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "Recipe":
        """Returns what a pre-training run does to a view apart from augmentation.

        Args:
            run: settings and data facts, as saved with a checkpoint.
        """
        return cls(
            sample_rate_hz=run.get("sample_rate_hz", DEFAULT_RATE_HZ),
            window_seconds=run["config"]["window_seconds"],
            band_hz=tuple(run["config"]["band_hz"]),
        )

    def num_samples(self, sample_rate_hz: float) -> int:
        """Samples of a window at another rate."""
        return round(self.window_seconds * sample_rate_hz)
