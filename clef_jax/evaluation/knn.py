"""k-nearest-neighbour probe: averages the targets of the most similar training recordings.

Unlike a linear probe it fits no weights, so recordings with the same target must already have
similar embeddings.

Shapes: N recordings, M training recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from clef_jax.evaluation import linear
from clef_jax.evaluation.examples import Examples

STRENGTHS = (200.0, 50.0, 20.0, 5.0)
"""Numbers of neighbours, from the smoothest to the least smooth prediction."""
_BLOCK_RECORDINGS = 512
"""Number of recordings whose similarities are computed at a time."""


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Training recordings, and the number of neighbours to average."""

    centre: np.ndarray
    """Mean of the training features, [D]."""
    unit: np.ndarray
    """Training features, centred and scaled to unit length, float32 [M, D]."""
    target: np.ndarray
    """Training targets, [M, K]."""
    count: int
    """Number of neighbours."""
    scale: np.ndarray | None = None
    """Scales of the features, [D]; None where they are compared as they are."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns the mean target of the neighbours of features [N, D]: float64 [N, K].

        It is the fraction of the neighbours that have a class, or the mean of a regression.
        """
        blocks = [
            self._predict(features[start : start + _BLOCK_RECORDINGS])
            for start in range(0, len(features), _BLOCK_RECORDINGS)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.target.shape[1]))

    def _predict(self, features: np.ndarray) -> np.ndarray:
        similarity = _on_sphere(features, self.centre, self.scale) @ self.unit.T
        nearest = np.argpartition(-similarity, self.count - 1, axis=1)[:, : self.count]
        return self.target[nearest].mean(axis=1)


def fit_all(
    kind: str, train: Examples, strengths: Sequence[float], widths: Sequence[int] = ()
) -> list[Neighbours]:
    """Returns a head for each number of neighbours, limited to the number of recordings.

    Args:
        kind: Kind of the task.
        train: Training examples.
        strengths: Numbers of neighbours.
        widths: Number of features of each model, if the features are those of several models;
            these are standardised, because their units differ.
    """
    del kind
    centre, scale = train.features.mean(axis=0, dtype=np.float64), None
    if widths:
        centre, scale = linear.standardisation(train.features, widths)
    unit = _on_sphere(train.features, centre, scale)
    target = np.asarray(train.target, float)
    return [Neighbours(centre, unit, target, min(int(k), len(unit)), scale) for k in strengths]


def _on_sphere(features: np.ndarray, centre: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Returns features, centred, scaled if asked to, and of unit length, float32 [N, D]."""
    centred = features - centre if scale is None else (features - centre) / scale
    centred = centred.astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
