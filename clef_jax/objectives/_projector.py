"""A projector of two layers, with ReLU between them, before a contrastive loss.

It is SimCLR's (Chen et al. 2020, arXiv 2002.05709, section 2.1): the loss sees its output, and the
encoder keeps what the loss makes the projector discard.

Shapes: N patients of the global batch, D embedding, P features of the projector's output.
"""

import jax
from flax import nnx

from clef_jax.objectives import Inputs, Sizes, _cosine, _network


def init(width: int, sizes: Sizes, rngs: nnx.Rngs) -> dict[str, _network.Params] | None:
    """Returns the initial parameters of a projector D-D-P, or None for a width P of 0."""
    if not width:
        return None
    embedding = sizes.embedding_width
    return {"projector": _network.init((embedding, embedding, width), rngs)}


def project(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
    """Returns the projections of both views, [N, P], or the embeddings without a projector."""
    views = inputs.view_a, inputs.view_b
    if inputs.params is None:
        return views
    layers = inputs.params["projector"]
    view_a, view_b = (_network.apply(layers, _cosine.widen(view))[0] for view in views)
    return view_a, view_b
