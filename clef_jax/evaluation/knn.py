"""k-nearest-neighbour probe: averages the targets of similar recordings.

It requires more of the embeddings than a linear probe does, because nothing is fitted: recordings
with the same target must be near each other already.

Shapes: N recordings, M training recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from clef_jax.evaluation.examples import Examples

STRENGTHS = (200.0, 50.0, 20.0, 5.0)
"""Numbers of neighbours, the smoothest prediction first."""
_BLOCK_RECORDINGS = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Training recordings, centred and scaled to unit length."""

    centre: np.ndarray
    """[D], mean of the training features."""
    unit: np.ndarray
    """float32 [M, D]."""
    target: np.ndarray
    """[M, K]."""
    count: int
    """Number of neighbours."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns the fraction of each class, or the mean value, among the neighbours.

        Args:
            features: [N, D].

        Returns:
            float64 [N, K].
        """
        blocks = [
            self._predict(features[start : start + _BLOCK_RECORDINGS])
            for start in range(0, len(features), _BLOCK_RECORDINGS)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.target.shape[1]))

    def _predict(self, features: np.ndarray) -> np.ndarray:
        similarity = _on_sphere(features, self.centre) @ self.unit.T
        nearest = np.argpartition(-similarity, self.count - 1, axis=1)[:, : self.count]
        return self.target[nearest].mean(axis=1)


def fit_all(kind: str, train: Examples, strengths: Sequence[float]) -> list[Neighbours]:
    """Returns a head for each number of neighbours, which is at most that of the recordings."""
    del kind
    centre = train.features.mean(axis=0, dtype=np.float64)
    unit = _on_sphere(train.features, centre)
    target = np.asarray(train.target, float)
    return [Neighbours(centre, unit, target, min(int(k), len(unit))) for k in strengths]


def _on_sphere(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    centred = (features - centre).astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
