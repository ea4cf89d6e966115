"""Sigmoid loss: every pair of views is classified as of the same patient or not, by itself.

Zhai et al. 2023 (arXiv 2303.15343, SigLIP, algorithm 1), on the two views of a patient instead of
an image and its text. Without a sum over negatives no batch is gathered: devices pass their
embeddings on in a ring (section 3.3). The CLEF paper does not train it; its only preset has its
authors' settings.

Terms: `loss`, the mean over patients of the summed cross-entropies with all patients; `scale` and
`bias`, the learned factor of the cosine similarities and the learned addend.

Shapes: N patients of the global batch, D embedding.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective."""

    initial_scale: float = 10.0
    """Factor of the cosine similarities before the first step; it is learned."""
    initial_bias: float = -10.0
    """Addend to the scaled similarities before the first step; it is learned. It is so low because
    nearly all pairs are of different patients."""

    def __post_init__(self):
        _check.numbers(self, "initial_scale", above=0)
        _check.numbers(self, "initial_bias")


PAPER = Config()
"""Settings of the method's authors."""


def loss(
    view_a: jax.Array,
    view_b: jax.Array,
    scale: jax.Array | float,
    bias: jax.Array | float,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_rows: int | None = None,
) -> jax.Array:
    """Returns the scalar loss of the global batch.

    It is -(1/N) sum over i, k of log sigmoid(y_ik (e^scale cos(a_i, b_k) + bias)), where y_ik is 1
    for the two views of a patient and -1 otherwise.

    Args:
        view_a, view_b: Embeddings, [N, D]; row i of both belongs to patient i.
        scale: Natural logarithm of the factor of the similarities.
        bias: Addend to the scaled similarities.
        mesh: Devices, whose axis "data" divides the patients; the result does not depend on it.
        block_rows: Number of patients that are compared at a time; None chooses it by the sizes.

    Raises:
        ValueError: shapes do not agree, or the number of devices does not divide the patients.
    """
    from clef_jax.objectives import _sigmoid

    return _sigmoid.loss(view_a, view_b, scale, bias, mesh, block_rows)


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    import jax.numpy as jnp

    del sizes, rngs
    scale = math.log(config.initial_scale)
    return {"log_scale": jnp.float32(scale), "bias": jnp.float32(config.initial_bias)}


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    import jax.numpy as jnp

    del config
    log_scale, bias = inputs.params["log_scale"], inputs.params["bias"]
    value = loss(inputs.view_a, inputs.view_b, log_scale, bias, mesh=inputs.mesh)
    return Outcome({"loss": value, "scale": jnp.exp(log_scale), "bias": bias})


OBJECTIVE = Objective(
    presets={"paper": Preset(config=PAPER)}, terms=_outcome, init_params=_init_params
)
