"""Small networks on top of the encoder: linear layers with ReLU, and batch norm where asked.

Batch norm uses the mean and the variance of all rows that it is given. Objectives give it the
embeddings of the global batch, so the result depends neither on the number of devices nor on the
number of microbatches, in which only the encoder runs.

Shapes: N rows, W features of a layer.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

EPSILON = 1e-5
"""Added to the variance before its square root."""
STATISTICS_MOMENTUM = 0.1
"""Weight of a batch in the running statistics."""

Params = dict[str, dict[str, jax.Array]]
"""Arrays of each layer: `weight` [in, out], `bias`, and with batch norm `norm_scale` and
`norm_shift` [out]."""
Statistics = dict[str, dict[str, jax.Array]]
"""`mean` and `variance` [W] of each layer with batch norm."""


def init(widths: Sequence[int], rngs: nnx.Rngs, *, batch_norm: bool = False) -> Params:
    """Returns the initial parameters of a network.

    Weights and biases are uniform within 1 / sqrt(number of inputs), as in PyTorch.

    Args:
        widths: numbers of features from the input to the output.
        rngs: random numbers.
        batch_norm: whether each layer but the last is followed by batch norm.
    """
    params: Params = {}
    for number, (wide, out) in enumerate(itertools.pairwise(widths), start=1):
        limit = wide**-0.5
        layer = {
            name: jax.random.uniform(rngs.params(), shape, jnp.float32, -limit, limit)
            for name, shape in (("weight", (wide, out)), ("bias", (out,)))
        }
        if batch_norm and number < len(widths) - 1:
            layer |= {"norm_scale": jnp.ones(out), "norm_shift": jnp.zeros(out)}
        params[_name(number)] = layer
    return params


def init_statistics(params: Params) -> Statistics:
    """Returns the running statistics before the first batch: mean 0 and variance 1."""
    return {
        name: {"mean": jnp.zeros_like(layer["bias"]), "variance": jnp.ones_like(layer["bias"])}
        for name, layer in params.items()
        if "norm_scale" in layer
    }


def apply(
    params: Params, x: jax.Array, *, normalise_output: bool = False
) -> tuple[jax.Array, Statistics]:
    """Returns the network's output [N, W] and the batch's statistics, with unbiased variances.

    Args:
        params: the network's parameters.
        x: inputs of the global batch, [N, W].
        normalise_output: whether the output is scaled to mean 0 and variance 1 over the batch.
    """
    statistics: Statistics = {}
    for number in range(1, len(params) + 1):
        layer = params[_name(number)]
        x = _linear(layer, x)
        if "norm_scale" in layer:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            x = _normalised(layer, x, mean, variance)
            unbiased = variance * (len(x) / max(len(x) - 1, 1))
            statistics[_name(number)] = {"mean": mean, "variance": unbiased}
        if number < len(params):
            x = jax.nn.relu(x)
    if normalise_output:
        mean, variance = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + EPSILON)
    return x, statistics


def apply_running(params: Params, statistics: Statistics, x: jax.Array) -> jax.Array:
    """Returns the output [N, W] with the running statistics instead of the batch's."""
    for number in range(1, len(params) + 1):
        layer = params[_name(number)]
        x = _linear(layer, x)
        if "norm_scale" in layer:
            x = _normalised(layer, x, **statistics[_name(number)])
        if number < len(params):
            x = jax.nn.relu(x)
    return x


def update_statistics(running: Any, batch: Any) -> Any:
    """Returns running statistics after a batch."""
    return jax.tree.map(
        lambda old, new: (
            (1 - STATISTICS_MOMENTUM) * old
            + STATISTICS_MOMENTUM * jax.lax.stop_gradient(new).astype(old.dtype)
        ),
        running,
        batch,
    )


def _name(number: int) -> str:
    return f"layer_{number}"


def _linear(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    product = jnp.dot(x, layer["weight"], precision=jax.lax.Precision.HIGHEST)
    return product + layer["bias"][None]


def _normalised(
    layer: dict[str, jax.Array], x: jax.Array, mean: jax.Array, variance: jax.Array
) -> jax.Array:
    scaled = (x - mean[None]) * jax.lax.rsqrt(variance + EPSILON)[None]
    return scaled * layer["norm_scale"][None] + layer["norm_shift"][None]
