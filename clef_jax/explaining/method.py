"""Computes a picture of an answer's causes by either method, and its checks.

Shapes: D features that the head reads, C leads, n segments, M occluded copies of a window.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from clef_jax.embedding import prediction
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.errors import UserError
from clef_jax.explaining import checks as checks_lib, gradients, occlusion
from clef_jax.explaining.checks import Checks, Similarity
from clef_jax.explaining.settings import INTEGRATED_GRADIENTS
from clef_jax.explaining.target import Target
from clef_jax.explaining.window import Window


class Picture(NamedTuple):
    """Contributions of segments to an answer."""

    contributions: np.ndarray
    """float64 [C, n]; C is 1 for occlusion."""
    flat_score: float | None = None
    """The explained number for a flat line, of integrated gradients."""
    error: float | None = None
    """Error of the sum of integrated gradients, as a fraction of the change."""
    num_points: int | None = None
    """Number of points of integrated gradients."""


@dataclasses.dataclass(frozen=True, eq=False)
class Explainer:
    """Explains answers to one window by one encoder.

    Args:
        embedder: the encoder.
        head: head that reads its features.
        method: one of `settings.METHODS`.
        window: the window.
        num_segments: number of segments, n.

    Raises:
        UserError: the method does not suit the head.
    """

    embedder: Embedder | ForeignEncoder
    head: Head
    method: str
    window: Window
    num_segments: int

    def __post_init__(self):
        if self.method == INTEGRATED_GRADIENTS:
            gradients.check(self._reader[0])

    @functools.cached_property
    def _reader(self) -> tuple[Encoder, slice]:
        """An encoder that gives the features of the head, and their slice."""
        return prediction.encoder_of(self.head, self.embedder)

    @functools.cached_property
    def _features(self) -> np.ndarray:
        """Features of the window, [D]."""
        return self._occluded(np.zeros((1, self.num_segments), bool))[0]

    @functools.cached_property
    def _patches(self) -> np.ndarray:
        """Features of the window without each patch, [n - 1, D]."""
        return self._occluded(occlusion.patches(self.num_segments))

    def _occluded(self, occluded: np.ndarray) -> np.ndarray:
        window_mv, rate_hz = self.window.encoder_mv, self.window.encoder_rate_hz
        return occlusion.features(*self._reader, window_mv, rate_hz, occluded)

    def picture(self, target: Target, *, is_check: bool = False) -> Picture:
        """Returns the contributions to the answer for an output.

        Args:
            target: the output, possibly of a head with other weights.
            is_check: whether the order of the contributions is enough.
        """
        if self.method != INTEGRATED_GRADIENTS:
            return Picture(occlusion.contributions(target, self._features, self._patches)[None])
        encoder = gradients.check(self._reader[0])
        shares = gradients.shares(
            encoder,
            self.head.layer,
            target,
            self.window.encoder_mv,
            self.num_segments,
            gradients.NUM_POINTS[: 1 if is_check else None],
        )
        return Picture(shares.contributions, shares.flat_score, shares.error, shares.num_points)

    def change(self, target: Target, occluded: np.ndarray) -> np.ndarray:
        """Returns the change of the answer without segments, [M], for masks, bool [M, n]."""
        before = target.score(self._features[None])[0]
        return target.score(self._occluded(occluded)) - before

    def check(self, target: Target, picture: Picture, seed: int) -> Checks:
        """Returns the checks of a picture.

        Args:
            target: the explained output.
            picture: its picture.
            seed: seed of the random heads, encoders and placements.
        """
        recorded = self.window.is_recorded(self.num_segments)
        of_heads = [
            self.picture(other, is_check=True).contributions
            for other in checks_lib.random_heads(target, seed)
        ]
        removals = checks_lib.remove(
            picture.contributions, recorded, lambda masks: self.change(target, masks), seed
        )
        return Checks(
            head=checks_lib.correlate(picture.contributions, of_heads, recorded),
            encoder=self._random_encoders(target, picture, recorded, seed),
            removals=removals,
            error=picture.error,
        )

    def _random_encoders(
        self, target: Target, picture: Picture, recorded: np.ndarray, seed: int
    ) -> Similarity | None:
        """Compares a picture with those of randomly initialised encoders; None without any."""
        pictures = []
        for number in range(checks_lib.NUM_ENCODERS):
            try:
                embedder = checks_lib.random_encoder(self.embedder, seed + number)
            except UserError:
                return None
            other = dataclasses.replace(self, embedder=embedder)
            pictures.append(other.picture(target, is_check=True).contributions)
        return checks_lib.correlate(picture.contributions, pictures, recorded)
