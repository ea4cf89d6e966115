"""An encoder's features with those of the baseline `classical` behind them, window by window.

Heads that were fitted to both read them.

Shapes: B windows, C leads, T samples of a window, D features of both.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from clef_jax import plugin
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.one_layer import OneLayer
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError

_BASELINES = plugin.Kind(
    label="baseline", package="clef_jax.baselines", attribute="make", expected=None
)
"""The baselines import this package, so they are found as plug-ins rather than imported."""


@dataclasses.dataclass(frozen=True, eq=False)
class WithClassical(OneLayer):
    """One layer of an encoder and the classical features, side by side, as an `Encoder`.

    It takes windows at the recording's own rate, which the classical features are computed at, and
    resamples them for the encoder.

    Raises:
        UserError: the encoder takes several leads at once, of which the classical features are
            unknown.
    """

    def __post_init__(self):
        if self.in_channels > 1:
            raise UserError(
                f"{self.name} takes {self.in_channels} leads at once, but the classical features "
                "are those of one lead; use the embedding alone.",
                problem="wrong_lead_count",
            )

    @property
    def num_features(self) -> int:
        part = self._part
        return part.stop - part.start + self._classical.num_features

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the recording's own rate, because windows are resampled later."""
        return sample_rate_hz

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> "_Features":
        """Returns the features, float32 [B, D], of windows [B, 1, T] in mV with NaN in gaps."""
        rate_hz = self.encoder.window_rate_hz(sample_rate_hz)
        windower = Windower(self.recipe, sample_rate_hz, window_rate_hz=rate_hz)
        features = self.encoder(windower.resample(signal_mv), rate_hz)
        # The devices compute those of the encoder at the same time.
        return _Features(features, self._part, self._classical(signal_mv, sample_rate_hz))

    @functools.cached_property
    def _classical(self) -> Encoder:
        return _BASELINES.module("classical").Classical(self.recipe, self.mesh)


@dataclasses.dataclass(frozen=True, eq=False)
class _Features:
    """Features that the devices may still compute, as `np.asarray` takes them."""

    encoded: Any
    part: slice
    classical: np.ndarray

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        encoded = np.asarray(self.encoded)[:, self.part]
        return np.concatenate([encoded, self.classical], axis=1).astype(dtype or np.float32)
