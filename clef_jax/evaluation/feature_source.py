"""Models that give features of a prepared split, but cannot be fed with windows of signals.

Such a model takes the place of an encoder in an evaluation: stored embeddings (`stored_features`)
and the features of several models side by side (`combined`).

Shapes: N recordings of a split, D features of all layers.
"""

import pathlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import rich.console

from clef_jax.data import index as index_lib
from clef_jax.embedding import prepared
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.prepared import Embedded


@runtime_checkable
class FeatureSource(Protocol):
    """Gives features of the recordings of a prepared split."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def layers(self) -> Mapping[str, slice]:
        """Slice of each layer's features among the D."""
        ...

    @property
    def num_features(self) -> int:
        """Number of features of all layers together, D."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifier that differs between sources whose features differ."""
        ...

    @property
    def costs(self) -> Mapping[str, float]:
        """Costs as far as they are known, as those of an encoder."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of features that come from each of several models; empty for a single one."""
        ...

    def embed_split(
        self,
        index: index_lib.Index,
        lead: str,
        cache_dir: pathlib.Path,
        console: rich.console.Console | None = None,
    ) -> Embedded:
        """Returns the features of one lead of a split; `prepared.embed` describes the arguments."""
        ...


Model = Encoder | FeatureSource
"""The contestants of an evaluation."""


def embed(
    model: Model,
    index: index_lib.Index,
    lead: str,
    cache_dir: pathlib.Path,
    console: rich.console.Console | None = None,
) -> Embedded:
    """Returns the features of one lead of a split by any model, see `prepared.embed`."""
    if isinstance(model, FeatureSource):
        return model.embed_split(index, lead, cache_dir, console)
    return prepared.embed(model, index, lead, cache_dir, console)
