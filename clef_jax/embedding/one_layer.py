"""Encoders that change the features of one layer of another encoder."""

import dataclasses
from collections.abc import Mapping

from jax.sharding import Mesh

from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.recipe import Recipe


@dataclasses.dataclass(frozen=True, eq=False)
class OneLayer:
    """Base of an `Encoder` of one layer, which is in all else like the encoder that it reads.

    A class that inherits it defines `num_features`, `window_rate_hz` and `__call__`.
    """

    encoder: Encoder
    layer: str

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def recipe(self) -> Recipe:
        return self.encoder.recipe

    @property
    def mesh(self) -> Mesh:
        return self.encoder.mesh

    @property
    def num_features(self) -> int:
        raise NotImplementedError

    @property
    def layers(self) -> Mapping[str, slice]:
        return {self.layer: slice(0, self.num_features)}

    @property
    def fingerprint(self) -> str:
        """The encoder's own, because the head says what else it reads."""
        return self.encoder.fingerprint

    @property
    def costs(self) -> Mapping[str, float]:
        return self.encoder.costs

    @property
    def in_channels(self) -> int:
        return self.encoder.in_channels

    @property
    def _part(self) -> slice:
        """Columns of the layer among the features of the encoder."""
        return encoder_lib.layer_slice(self.encoder, self.layer)
