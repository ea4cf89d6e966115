"""Verifies exported models: test signals, and the model's own features for them.

Shapes: B batch, L leads, T time (samples), D features of a layer.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax import leads as lead_names, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, foreign_step
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.errors import UserError
from clef_jax.simulation import simulated_ecg

LARGEST_DIFFERENCE = 1e-5
"""Largest allowed difference of a feature between an exported file and its model."""
NUM_WINDOWS = 10
"""Number of test windows."""
_NOISE_MV = 0.02
_OFFSET_MV = 1.5


def windows(num_leads: int, num_samples: int, sample_rate_hz: float) -> np.ndarray:
    """Returns test windows in raw millivolts, float32 [10, L, T], NaN where missing; deterministic.

    Six windows are simulated people with noise and an offset, three of them with a gap: at the
    start, in the middle, at the end. Two are white noise, one of them with single samples missing.
    One is flat, and one is all missing.
    """
    names = [lead_names.STANDARD_12[n % 12] for n in range(num_leads)]
    rng = np.random.default_rng(0)
    people = [
        simulated_ecg.make(n, names, sample_rate_hz=sample_rate_hz, num_samples=num_samples)
        for n in range(6)
    ]
    mv = np.concatenate([np.stack(people), np.zeros((4, num_leads, num_samples))])
    mv += rng.uniform(-_OFFSET_MV, _OFFSET_MV, (NUM_WINDOWS, num_leads, 1))
    mv[:6] += _NOISE_MV * rng.standard_normal(mv[:6].shape)
    mv[6:8] += rng.standard_normal(mv[6:8].shape)
    eighth = num_samples // 8
    mv[3, :, :eighth] = np.nan
    mv[4, :, 3 * eighth : 5 * eighth] = np.nan
    mv[5, :, num_samples - eighth :] = np.nan
    mv[7, rng.random(mv[7].shape) < 0.1] = np.nan
    mv[9] = np.nan
    return mv.astype(np.float32)


def jax_features(model: Embedder, signal_mv: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Computes features with JAX in float32 on the CPU, from raw millivolts [B, L, T].

    Returns:
        The preprocessed signals, [B, L, T'], and the features of every layer, [B, D] each.

    Raises:
        UserError: JAX is configured not to use the CPU.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[:1]
    except RuntimeError as error:
        raise UserError(
            "An exported model is compared with JAX on the CPU, which JAX is configured not to use "
            f"({error}). Add cpu to the environment variable JAX_PLATFORMS."
        ) from error
    encoder, mesh, recipe = model.encoder, mesh_lib.make_mesh(cpu), model.recipe
    encoder.dtype = None  # float32: bfloat16 activations are too coarse for five digits
    graph, params = nnx.split(encoder, nnx.Param)
    bandpass = encoder_lib.make_bandpass(recipe, mesh)

    @jax.jit
    def run(params: nnx.State, signal_mv: jax.Array, bandpass: Any):
        signal = encoder_lib.prepare(signal_mv, bandpass, recipe)
        return signal, nnx.merge(graph, params).stages(jnp.swapaxes(signal, 1, 2))

    signal, stages = run(*jax.device_put((params, signal_mv, bandpass), cpu[0]))
    return np.asarray(signal), [np.asarray(stage) for stage in stages]


def prepared(model: Embedder, signal_mv: np.ndarray) -> np.ndarray:
    """Preprocesses windows in raw millivolts, float32 [B, L, T], for the network alone."""
    bandpass, recipe = encoder_lib.make_bandpass(model.recipe, model.mesh), model.recipe
    prepare = jax.jit(lambda signal_mv, bandpass: encoder_lib.prepare(signal_mv, bandpass, recipe))
    return np.asarray(prepare(signal_mv, bandpass))


def published_features(model: ForeignEncoder, signal_mv: np.ndarray) -> list[np.ndarray]:
    """Computes every layer of a published encoder with JAX in float32, [B, D] each, from raw
    millivolts [B, L, T], as `ForeignEncoder` does."""

    def layers(params: Any, constants: Any, signal_mv: jax.Array) -> list[jax.Array]:
        named = foreign_step.layers(model.graph, model.variant, params, constants, signal_mv)
        return [features for _, features in named]

    with jax.default_matmul_precision("highest"):
        return [np.asarray(x) for x in jax.jit(layers)(model.params, model.constants, signal_mv)]


def largest_difference(actual: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Returns the largest absolute difference over all arrays; NaN if any value is NaN."""
    return max(
        (float(np.abs(a - b).max()) for a, b in zip(actual, expected, strict=True)),
        key=lambda difference: (np.isnan(difference), difference),
    )
