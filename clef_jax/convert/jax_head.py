"""Computes a head's answers with JAX.

Shapes: B batch, D features, K outputs.
"""

import jax
import jax.numpy as jnp

from clef_jax.convert.exported_head import ISOTONIC, SIGMOID, SOFTMAX, FoldedHead


def answers(head: FoldedHead, features: jax.Array) -> jax.Array:
    """Returns the answers of a head, float32 [B, K], to features [B, D]."""
    bias = jnp.asarray(head.bias[None], jnp.float32)
    logits = features @ jnp.asarray(head.weight.T, jnp.float32) + bias
    if head.link == SIGMOID:
        return jax.nn.sigmoid(logits)
    if head.link == SOFTMAX:
        return jax.nn.softmax(logits, axis=-1)
    return _interpolated(head, logits) if head.link == ISOTONIC else logits


def _interpolated(head: FoldedHead, logits: jax.Array) -> jax.Array:
    """Interpolates between knots as a sum of ramps."""
    start, reciprocal, rise, first = (jnp.asarray(x[None], jnp.float32) for x in head.ramps)
    passed = jnp.clip((logits[..., None] - start) * reciprocal, 0, 1)
    return first + (passed * rise).sum(axis=-1)
