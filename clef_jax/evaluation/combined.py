"""Features of several models side by side, as one model of an evaluation: `A+B`.

The probes scale each model's features to the same variance in total, so that a model of many
features does not outweigh one of few; see `blocks.factors`.

Shapes: N recordings of a split, D features.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import rich.console

from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.prepared import Embedded
from clef_jax.evaluation import feature_source
from clef_jax.evaluation.feature_source import Model
from clef_jax.evaluation.settings import BEST, LAST

SEPARATOR = "+"
_LAYER = "side by side"


@dataclasses.dataclass(frozen=True, eq=False)
class Combined:
    """Several models, a `feature_source.FeatureSource`."""

    parts: tuple[Model, ...]
    """The models whose features stand side by side."""
    layer: str = LAST
    """Layer of the models that have several; `best` stands for the last."""

    @property
    def name(self) -> str:
        return f" {SEPARATOR} ".join(part.name for part in self.parts)

    @property
    def layers(self) -> Mapping[str, slice]:
        return {_LAYER: slice(0, self.num_features)}

    @property
    def num_features(self) -> int:
        return sum(self.widths)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(columns.stop - columns.start for columns in map(self._columns, self.parts))

    @property
    def fingerprint(self) -> str:
        parts = [(part.fingerprint, str(self._columns(part))) for part in self.parts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def costs(self) -> Mapping[str, float]:
        """Sums of the costs that all parts state."""
        known = [part.costs for part in self.parts]
        shared = [name for name in known[0] if all(name in costs for costs in known)]
        return {name: sum(costs[name] for costs in known) for name in shared}

    def embed_split(
        self,
        index: index_lib.Index,
        lead: str,
        cache_dir: pathlib.Path,
        console: rich.console.Console | None = None,
    ) -> Embedded:
        """Returns the features of all parts for one lead of a split, not yet scaled."""
        embedded = [
            feature_source.embed(part, index, lead, cache_dir, console) for part in self.parts
        ]
        features = np.concatenate(
            [
                np.asarray(split.features[:, self._columns(part)], np.float32)
                for part, split in zip(self.parts, embedded, strict=True)
            ],
            axis=1,
        )
        speeds = [s.windows_per_second for s in embedded if np.isfinite(s.windows_per_second)]
        speed = 1 / sum(1 / value for value in speeds) if speeds else np.nan
        return Embedded(index, lead, features, cache_dir, speed)

    def _columns(self, part: Model) -> slice:
        layer = LAST if self.layer == BEST or len(part.layers) == 1 else self.layer
        return encoder_lib.layer_slice(part, layer)


def split_name(name: str) -> Sequence[str]:
    """Returns what stands between the plus signs of a name."""
    return [part.strip() for part in name.split(SEPARATOR)]
