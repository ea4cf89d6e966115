"""Computes on the devices what a published encoder needs: its input, layers and time steps.

Constants are the arrays of the network that are not trained, those of the variant, and the mean and
the standard deviation of the training patients, NaN if they are unknown.

Shapes: B windows, C leads, T samples of a window, D_s features of a layer, n time steps.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib
from clef_jax.embedding.published import Variant
from clef_jax.signal import device


@functools.lru_cache(maxsize=32)
def compiled(graph: nnx.GraphDef, variant: Variant, mesh: Mesh, layer: str | None) -> Callable:
    """Returns a function (params, constants, windows) -> features, compiled once for encoders of
    one shape.

    Args:
        layer: layer whose time steps are returned; by default the features of all layers are.
    """

    def local(params: nnx.State, constants: Any, signal_mv: jax.Array) -> jax.Array:
        if layer is not None:
            return time_steps(graph, variant, params, constants, signal_mv, layer)
        of_all = layers(graph, variant, params, constants, signal_mv)
        return jnp.concatenate([values for _, values in of_all], axis=1)

    # Per device: under plain jit XLA may gather the batch.
    sharded = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(mesh_lib.EVERYWHERE, mesh_lib.EVERYWHERE, mesh_lib.ROWS),
        out_specs=mesh_lib.ROWS,
    )
    return jax.jit(sharded)


def layers(
    graph: nnx.GraphDef, variant: Variant, params: Any, constants: Any, signal_mv: jax.Array
) -> list[tuple[str, jax.Array]]:
    """Returns names and features, float32 [B, D_s], of the layers for windows [B, C, T] in mV."""
    inputs = _inputs(variant, constants, signal_mv)
    by_name = nnx.merge(graph, params, constants[0]).layers(*inputs)
    return [
        (name, values.astype(jnp.float32).reshape(*_views(variant, signal_mv), -1).mean(1))
        for name, values in by_name.items()
    ]


def time_steps(
    graph: nnx.GraphDef,
    variant: Variant,
    params: Any,
    constants: Any,
    signal_mv: jax.Array,
    layer: str,
) -> jax.Array:
    """Returns the time steps of a layer, those of all views, float32 [B, n, D_s]."""
    inputs = _inputs(variant, constants, signal_mv)
    steps = nnx.merge(graph, params, constants[0]).time_steps(*inputs)[layer]
    batch, _ = _views(variant, signal_mv)
    return steps.astype(jnp.float32).reshape(batch, -1, steps.shape[-1])


def _views(variant: Variant, signal_mv: jax.Array) -> tuple[Any, int]:
    return signal_mv.shape[0], variant.num_views


def _inputs(variant: Variant, constants: Any, signal_mv: jax.Array) -> tuple[jax.Array, ...]:
    """Returns what the network takes: its input, and which samples are observed if it asks."""
    _, arrays, scale = constants
    recipe, (batch, num_leads, num_samples) = variant.recipe, signal_mv.shape
    filled = device.fill_gaps(signal_mv.reshape(-1, num_samples))
    filled = device.resample_to_count(filled, recipe.num_samples(recipe.sample_rate_hz))
    filled = filled.reshape(batch, num_leads, -1)
    if variant.standardised:
        filled = _standardised(filled, scale)
    inputs = variant.prepare(filled, arrays)
    if not variant.pads_short:
        return (inputs,)
    present = jnp.isfinite(signal_mv).any(1)
    return inputs, observed(present, inputs.shape[1])


def _standardised(signal_mv: jax.Array, scale: jax.Array) -> jax.Array:
    """Subtracts the mean scale[0] and divides by the deviation scale[1]; windows [B, C, T] are
    scaled by their own where those are NaN. A flat window becomes zeros."""
    own_mean = signal_mv.mean((1, 2), keepdims=True)
    own_std = jnp.sqrt(jnp.square(signal_mv - own_mean).mean((1, 2), keepdims=True))
    known = jnp.isfinite(scale)
    mean = jnp.where(known[0], scale[0], own_mean)
    std = jnp.where(known[1], scale[1], own_std)
    return (signal_mv - mean) / jnp.where(std > 0, std, 1)


def observed(present: jax.Array, num_samples: int) -> jax.Array:
    """Returns which samples of the network's input follow the padding on the left, bool
    [B, num_samples].

    Args:
        present: whether any lead has a sample, bool [B, T]; the padding has none.
    """
    first = jnp.argmax(present, axis=1)  # 0 as well if no sample is present
    begin = jnp.ceil(first * (num_samples / present.shape[1]))
    return jnp.arange(num_samples)[None] >= begin[:, None]
