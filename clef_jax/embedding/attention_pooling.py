"""Pools the time steps of a layer by the queries of an attention head, window by window.

`AttentionPooled` is an `Encoder` whose features are the pooled ones, so that everything that reads
features of windows can read them.

Shapes: B windows, C leads, T samples of a window, n time steps, D features of a step, Q queries.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.special

from clef_jax.embedding.one_layer import OneLayer
from clef_jax.errors import UserError

MAX_STEPS = 160
"""Maximum number of time steps that are kept of a window; more are averaged with their
neighbours."""
NO_TIME_STEPS = "no_time_steps"
"""Problem code of models that give no time steps."""


@runtime_checkable
class HasTimeSteps(Protocol):
    """An encoder that gives the time steps of its layers, and not only their means."""

    def time_steps(self, signal_mv: np.ndarray, sample_rate_hz: float, layer: str) -> Any:
        """Returns a layer's output for windows, float32 [B, n, D].

        Args:
            signal_mv: windows in mV, float32 [B, C, T], as for `Encoder.__call__`.
            sample_rate_hz: sampling rate of the windows.
            layer: name in `layers`, or `last`.
        """
        ...


def fewer(steps: np.ndarray) -> np.ndarray:
    """Returns at most `MAX_STEPS` time steps of [B, n, D], which are means of neighbours.

    All groups of neighbours have the same number of steps but the last, which may have fewer.
    """
    size = -(-steps.shape[1] // MAX_STEPS)
    starts = np.arange(0, steps.shape[1], size)
    counts = np.diff(np.append(starts, steps.shape[1]))[None, :, None]
    return steps if size == 1 else np.add.reduceat(steps, starts, axis=1) / counts.astype("f4")


def pool(steps: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Returns the pooled features, float32 [B, D], of time steps [B, n, D].

    Query q weights the steps by the softmax of `steps @ query[q]` over time, and pools the features
    from `q * D / Q` to `(q + 1) * D / Q`.

    Args:
        query: queries, [Q, D].
    """
    num_queries, num_features = query.shape
    steps = steps.astype(np.float64)
    weights = scipy.special.softmax(steps @ query.T.astype(np.float64), axis=1)  # [B, n, Q]
    query_of = np.arange(num_features) * num_queries // num_features
    pooled = np.empty((len(steps), num_features), np.float32)
    for number in range(num_queries):
        own = query_of == number
        pooled[:, own] = np.einsum("bn,bnd->bd", weights[..., number], steps[..., own])
    return pooled


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionPooled(OneLayer):
    """The pooled time steps of a layer, as an `Encoder` of one layer.

    Raises:
        UserError: the encoder gives no time steps.
    """

    query: np.ndarray
    """Queries, [Q, D]."""

    def __post_init__(self):
        if not isinstance(self.encoder, HasTimeSteps):
            raise UserError(
                f"The head reads time steps, but {self.name} gives features of whole windows only.",
                problem=NO_TIME_STEPS,
            )

    @property
    def num_features(self) -> int:
        part = self._part
        return part.stop - part.start

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the sampling rate of the windows that the encoder takes."""
        return self.encoder.window_rate_hz(sample_rate_hz)

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> "_Features":
        """Returns the pooled features, float32 [B, D], of windows [B, C, T] in mV."""
        assert isinstance(self.encoder, HasTimeSteps)
        steps = self.encoder.time_steps(signal_mv, sample_rate_hz, self.layer)
        return _Features(steps, self.query)


@dataclasses.dataclass(frozen=True, eq=False)
class _Features:
    """Features that the devices may still compute, as `np.asarray` takes them."""

    steps: Any
    query: np.ndarray

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        steps = fewer(np.asarray(self.steps).astype(np.float32, copy=False))
        return pool(steps, self.query).astype(dtype or np.float32)
