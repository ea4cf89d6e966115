"""Signals that an exported model is tried with, and what the model itself makes of them.

Shapes: B batch, L leads, T time (samples), D features of a layer.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax import leads as lead_names, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.errors import UserError
from clef_jax.simulation import strip

LARGEST_DIFFERENCE = 1e-5
"""Of any feature between an exported file and the model that it was made of; more is an error."""
NUM_WINDOWS = 10
_NOISE_MV = 0.02
_OFFSET_MV = 1.5


def windows(num_leads: int, num_samples: int, sample_rate_hz: float) -> np.ndarray:
    """Raw millivolts float32 [10, L, T], NaN where missing; the same at every call.

    Six simulated people with noise and an offset, three of them with a gap at the start, in the
    middle and at the end; two windows of white noise, one with single samples missing; a flat
    window; and one without a sample.
    """
    names = [lead_names.STANDARD_12[n % 12] for n in range(num_leads)]
    rng = np.random.default_rng(0)
    people = [
        strip.make(n, names, sample_rate_hz=sample_rate_hz, num_samples=num_samples)
        for n in range(6)
    ]
    mv = np.concatenate([np.stack(people), np.zeros((4, num_leads, num_samples))])
    mv += rng.uniform(-_OFFSET_MV, _OFFSET_MV, (NUM_WINDOWS, num_leads, 1))
    mv[:6] += _NOISE_MV * rng.standard_normal(mv[:6].shape)
    mv[6:8] += rng.standard_normal(mv[6:8].shape)
    piece = num_samples // 8
    mv[3, :, :piece] = np.nan
    mv[4, :, 3 * piece : 5 * piece] = np.nan
    mv[5, :, num_samples - piece :] = np.nan
    mv[7, rng.random(mv[7].shape) < 0.1] = np.nan
    mv[9] = np.nan
    return mv.astype(np.float32)


def our_features(model: Embedder, signal_mv: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Our own path in float32 on the CPU, of raw millivolts [B, L, T].

    Returns:
        What the encoder is given, [B, L, T'], and the features of every layer, [B, D] each.

    Raises:
        UserError: JAX was told to leave the CPU out.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[:1]
    except RuntimeError as error:
        raise UserError(
            "An exported model is checked against JAX on the CPU, which JAX may not use here "
            f"({error}). Add cpu to the environment variable JAX_PLATFORMS."
        ) from error
    encoder, mesh, recipe = model.encoder, mesh_lib.make_mesh(cpu), model.recipe
    encoder.dtype = None  # bfloat16 activations of an accelerator are no measure of five digits
    graph, params = nnx.split(encoder, nnx.Param)
    bandpass = encoder_lib.make_bandpass(recipe, mesh)

    @jax.jit
    def run(params: nnx.State, signal_mv: jax.Array, bandpass: Any):
        signal = encoder_lib.prepare(signal_mv, bandpass, recipe)
        return signal, nnx.merge(graph, params).stages(jnp.swapaxes(signal, 1, 2))

    signal, stages = run(*jax.device_put((params, signal_mv, bandpass), cpu[0]))
    return np.asarray(signal), [np.asarray(stage) for stage in stages]


def largest_difference(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """NaN where something is not a number."""
    return max(
        (float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True)),
        key=lambda difference: (np.isnan(difference), difference),
    )
