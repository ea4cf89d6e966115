"""Values and gradients of the public PyTorch reference, in both precisions."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.objectives import clef

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "loss_public.npz")
TAGS = sorted({name.split("/")[0] for name in GOLDEN.files})
PARTS = {"loss": "combined", "nce": "meta_nce", "alignment": "align"}
MISSING_ON = {
    "1d": clef.RELEASED,
    "2d": dataclasses.replace(clef.RELEASED, missing="missing_rate"),
}


@functools.partial(jax.jit, static_argnums=3)
def terms_and_gradients(features, risk, completeness, config):
    def terms(x):
        n = x.shape[0] // 2
        return clef.terms(x[:n], x[n:], risk, completeness, config)

    return terms(features), jax.jacrev(terms)(features)


def check_golden(tag, dimensions, temperature, dtype, atol):
    suffix = "_f64" if dtype == jnp.float64 else ""
    features = jnp.asarray(GOLDEN[f"{tag}/features"], dtype)
    risk = jnp.asarray(GOLDEN[f"{tag}/risk"])
    completeness = jnp.asarray(1 - GOLDEN[f"{tag}/miss"])
    config = dataclasses.replace(MISSING_ON[dimensions], temperature=temperature)
    weights, _ = clef.pair_weights(risk, completeness, config)
    np.testing.assert_allclose(1 - weights, GOLDEN[f"{tag}/metasim_{dimensions}"], atol=atol)
    terms, gradients = terms_and_gradients(features, risk, completeness, config)
    for part, name in PARTS.items():
        label = f"{name}_{dimensions}_T{temperature}{suffix}"
        assert terms[part].dtype == dtype
        np.testing.assert_allclose(terms[part], GOLDEN[f"{tag}/{label}"], atol=atol, err_msg=label)
        # The gradients of the parts are stored at one temperature, under a shorter name.
        stored = label if part == "loss" else f"{name}_{dimensions}{suffix}"
        if part == "loss" or temperature == 0.07:
            want = GOLDEN[f"{tag}/grad_{stored}"]
            np.testing.assert_allclose(gradients[part], want, atol=atol, err_msg=stored)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("dimensions", ["1d", "2d"])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_released_objective_equals_the_reference(tag, dimensions, temperature):
    check_golden(tag, dimensions, temperature, jnp.float32, 1e-5)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("dimensions", ["1d", "2d"])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_double_precision_equals_the_reference(tag, dimensions, temperature):
    with jax.enable_x64(True):
        check_golden(tag, dimensions, temperature, jnp.float64, 1e-7)
