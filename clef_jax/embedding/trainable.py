"""Encoders with weights that can be trained, ours and published ones, under one interface.

Shapes: B windows, C leads, T samples, D features.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder

Trainable = Embedder | ForeignEncoder
"""Encoder with weights, `params`; `dataclasses.replace` gives it others."""


def constants(model: Trainable) -> Any:
    """Returns what `features` needs beside the weights, on every device."""
    if isinstance(model, ForeignEncoder):
        return model.constants
    return encoder_lib.make_bandpass(model.recipe, model.mesh)


def features(model: Trainable, params: Any, constants: Any, signal_mv: jax.Array) -> jax.Array:
    """Returns the last layer's features, float32 [B, D], by other weights than the model's.

    It runs within a compiled function, on one device.

    Args:
        params: weights of the same shapes.
        constants: those of `constants`.
        signal_mv: windows in mV, float32 [B, C, T], not finite where missing.
    """
    if isinstance(model, ForeignEncoder):
        return model.features(params, constants, signal_mv)
    signal = encoder_lib.prepare(signal_mv, constants, model.recipe).swapaxes(1, 2)
    return nnx.merge(model.graph, params)(signal).astype(jnp.float32)
