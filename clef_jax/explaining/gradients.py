"""Integrated gradients (Sundararajan et al. 2017): shares of the answer's distance from that to a
flat line.

The way from the flat line to the signal runs through what the network receives, after the filter
and the scaling: before them, every faint copy of a signal gives the same answer as the signal.

Shapes: C leads, S samples of a window, T samples of the network's input, A points of the way, n
segments.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.explaining import target as target_lib, window as window_lib
from clef_jax.explaining.target import Target

NUM_POINTS = (32, 128, 512)
"""Numbers of points on the way; the next one is used if the shares do not add up."""
TOLERANCE = 0.01
"""Largest difference between the sum of the shares and the change of the answer, as a fraction of
the change, with which no more points are used."""
_BATCH_POINTS = 8
"""Number of points that are computed together."""
_SMALL_CHANGE = 1e-3
"""Smallest change that the difference is divided by."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shares:
    """Shares of each segment in the change of the answer from that to a flat line."""

    contributions: np.ndarray
    """float64 [C, n]; negative where the segment lowers the answer."""
    flat_score: float
    """The explained number for a flat line."""
    score: float
    """The explained number for the window."""
    num_points: int

    @property
    def change(self) -> float:
        """Change of the explained number from a flat line to the window."""
        return self.score - self.flat_score

    @property
    def error(self) -> float:
        """Difference between the sum of the shares and the change, as a fraction of the change."""
        difference = abs(float(self.contributions.sum()) - self.change)
        return difference / max(abs(self.change), _SMALL_CHANGE)


def check(encoder: Encoder) -> Embedder:
    """Returns the encoder if it has gradients.

    Raises:
        UserError: it has none: rhythm and spectrum are counted and have no derivatives, and those
            of attention heads and of published networks other than ECGFounder are not computed.
    """
    if isinstance(encoder, Embedder):
        return encoder
    raise UserError(
        "Integrated gradients are computed for heads that read nothing but a layer of a CLEF "
        "encoder or of ECGFounder. This head reads rhythm and spectrum, time steps, or another "
        "network; use the method occlusion.",
        problem="no_gradients",
    )


def shares(
    encoder: Embedder,
    layer: str,
    target: Target,
    window_mv: np.ndarray,
    num_segments: int,
    num_points: tuple[int, ...] = NUM_POINTS,
) -> Shares:
    """Returns the shares of the segments of a window.

    Args:
        encoder: encoder that gives the features of the head.
        layer: layer that the head reads.
        target: the explained output.
        window_mv: window in mV as the encoder takes it, [C, S]; NaN where missing.
        num_segments: number of segments, n.
        num_points: numbers of points to try, ascending.
    """
    stage = list(encoder.layers.values()).index(encoder_lib.layer_slice(encoder, layer))
    prepare, step = _compiled(encoder.graph, encoder.recipe, stage, target.head.kind, target.number)
    # One device is enough, also where the weights are on several.
    params = jax.tree.map(lambda leaf: leaf.addressable_data(0), encoder.params)
    signal = np.asarray(prepare(window_mv[None]))[0]  # [C, T]
    weights = jax.tree.map(lambda array: array.astype(np.float32), target.weights)
    result = None
    for count in num_points:
        result = integrate(functools.partial(step, params, weights), signal, num_segments, count)
        if result.error <= TOLERANCE:
            break
    assert result is not None
    return result


def integrate(step: Callable, signal: np.ndarray, num_segments: int, num_points: int) -> Shares:
    """Integrates the gradient along the way by the formula of Gauss and Legendre.

    Args:
        step: maps inputs [A, C, T] to the explained number, [A], and its gradient, [A, C, T].
        signal: input of the network, [C, T].
        num_segments: number of segments.
        num_points: number of points.
    """
    node, weight = np.polynomial.legendre.leggauss(num_points)
    # The ends of the way belong to no share, but tell how far the answer changes.
    node = np.concatenate([(node + 1) / 2, [0.0, 1.0]])
    weight = np.concatenate([weight / 2, [0.0, 0.0]])
    scores, gradient = [], np.zeros(signal.shape)
    for begin in range(0, len(node), _BATCH_POINTS):
        fraction = np.zeros(_BATCH_POINTS)
        some = node[begin : begin + _BATCH_POINTS]
        fraction[: len(some)] = some
        score, of_each = step((fraction[:, None, None] * signal).astype(np.float32))
        scores.append(np.asarray(score)[: len(some)])
        some_weight = weight[begin : begin + _BATCH_POINTS]
        gradient += np.tensordot(some_weight, np.asarray(of_each, np.float64)[: len(some)], axes=1)
    of_sample = signal * gradient
    first = window_lib.edges(num_segments, signal.shape[-1])[:-1]
    *_, flat_score, score = np.concatenate(scores).tolist()
    return Shares(np.add.reduceat(of_sample, first, axis=-1), flat_score, score, num_points)


@functools.lru_cache(maxsize=8)
def _compiled(
    graph: nnx.GraphDef, recipe: Recipe, stage: int, kind: str, number: int
) -> tuple[Callable, Callable]:
    """Returns two compiled functions: windows in mV to the network's input, and this input to the
    explained number and its gradient."""
    bandpass = None if recipe.band_hz is None else encoder_lib.make_filter(recipe, recipe.band_hz)

    def prepare(signal_mv: jax.Array) -> jax.Array:
        return encoder_lib.prepare(signal_mv, bandpass, recipe)

    def step(params: nnx.State, weights: target_lib.Weights, signal: jax.Array) -> Any:
        def total(signal: jax.Array) -> tuple[jax.Array, jax.Array]:
            stages = nnx.merge(graph, params).stages(signal.swapaxes(1, 2))
            features = stages[stage].astype(jnp.float32)
            scores = target_lib.score(kind, number, weights, features, jnp)
            return scores.sum(), scores

        gradient, scores = jax.grad(total, has_aux=True)(signal)
        return scores, gradient

    return jax.jit(prepare), jax.jit(step)
