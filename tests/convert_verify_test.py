"""Exported files are verified on windows of every kind, against features computed by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from culprits import refuses
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.convert import verify
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.models import create_encoder

MESH = mesh_lib.make_mesh(jax.devices()[:1])


def test_windows_are_the_same_at_every_call_and_of_every_kind():
    mv = verify.windows(2, 1000, 100.0)
    np.testing.assert_array_equal(mv, verify.windows(2, 1000, 100.0))
    assert mv.shape == (verify.NUM_WINDOWS, 2, 1000)
    assert mv.dtype == np.float32
    missing = np.isnan(mv)
    assert missing.all(axis=(1, 2)).tolist() == [False] * 9 + [True]
    assert missing[3, :, 0].all()
    assert missing[5, :, -1].all()
    assert not missing[:3].any()
    assert (np.ptp(mv[8], axis=1) == 0).all()


def test_our_features_are_those_of_the_embedder():
    model = encoder_lib.random("tiny", MESH, seed=0)
    mv = verify.windows(1, 2500, 250.0)
    signal, stages = verify.jax_features(model, mv)
    assert signal.shape == (len(mv), 1, 5000)
    want = model(mv, 250.0)
    np.testing.assert_allclose(np.concatenate(stages, axis=1), want, atol=1e-6)


def test_an_encoder_that_computes_in_bfloat16_is_compared_in_float32():
    exact = create_encoder("tiny", rngs=nnx.Rngs(0))
    coarse = create_encoder("tiny", rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    mv = verify.windows(1, 5000, 500.0)
    of_both = [
        verify.jax_features(encoder_lib.of_encoder(one, MESH, name="", recipe=Recipe()), mv)[1][-1]
        for one in (exact, coarse)
    ]
    np.testing.assert_array_equal(of_both[0], of_both[1])


def test_a_machine_without_jax_on_the_cpu_is_reported(monkeypatch):
    def refuse(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    model = encoder_lib.random("tiny", MESH, seed=0)
    monkeypatch.setattr(verify.jax, "local_devices", refuse)
    with refuses("JAX_PLATFORMS", "cpu"):
        verify.jax_features(model, np.zeros((1, 1, 5000), np.float32))


def test_the_largest_difference_is_over_all_layers_and_nan_wins():
    zeros = np.zeros((2, 3))
    assert verify.largest_difference([zeros, zeros - 2], [zeros + 1, zeros]) == 2
    assert np.isnan(verify.largest_difference([zeros * np.nan, zeros - 2], [zeros, zeros]))
