import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax.objectives import simclr

pytestmark = pytest.mark.usefixtures("quick_compiler")

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "loss_public.npz")


@pytest.mark.parametrize("tag", ["N8_D16_clean", "N5_D7_clean"])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_values_and_gradients_equal_the_reference(tag, temperature):
    features = jnp.asarray(GOLDEN[f"{tag}/features"])
    n = features.shape[0] // 2
    unused = jnp.full(n, jnp.nan)
    config = simclr.Config(temperature=temperature)

    def loss(x):
        return simclr.loss(x[:n], x[n:], unused, unused, config)

    value, gradient = jax.value_and_grad(loss)(features)
    np.testing.assert_allclose(value, GOLDEN[f"{tag}/info_nce_T{temperature}"], atol=1e-5)
    want = GOLDEN[f"{tag}/grad_info_nce_T{temperature}"]
    np.testing.assert_allclose(gradient, want, atol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with refuses(f"temperature={temperature}", error=ValueError):
        simclr.Config(temperature=temperature)
