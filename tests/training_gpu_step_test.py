"""The step in the form that a GPU has gives the state that the plain form gives."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from training_step_test import CONFIG, SAMPLE_RATE_HZ, make_batch

from clef_jax import mesh as mesh_lib
from clef_jax.training import flat_gradient, state as state_lib, step as step_lib


def after_a_step(platform, **settings):
    config = dataclasses.replace(CONFIG, precision="float32", **settings)
    mesh = mesh_lib.make_mesh(jax.devices()[:2])
    rate = optax.constant_schedule(1e-3)
    trainer = state_lib.make_trainer(config, rate, mesh, platform=platform)
    constants = step_lib.make_constants(config, SAMPLE_RATE_HZ, mesh)
    batch = mesh_lib.to_devices(make_batch(), mesh)
    state, metrics = step_lib.make_train_step(trainer)(trainer.init(), batch, constants)
    return jax.device_get((state, metrics))


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("own_kernels", [False, True])
def test_the_form_for_gpus_changes_rounding_alone(monkeypatch, own_kernels):
    # All at once, because each of these settings has code of its own in the step.
    settings = {"objective": "vicreg", "shard_optimizer": True}
    settings |= {"remat": True, "num_microbatches": 2, "own_kernels": own_kernels}
    settings |= {"bias_in_product": not own_kernels}
    monkeypatch.setattr(flat_gradient, "BUCKET_BYTES", 2000)
    plain, plain_metrics = after_a_step("cpu", **settings)
    state, metrics = after_a_step("gpu", **settings)
    np.testing.assert_allclose(metrics["loss"], plain_metrics["loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], plain_metrics["grad_norm"], rtol=1e-5)
    # AdamW's first moment is a tenth of the gradient; its update would enlarge rounding.
    got, want = (jax.tree.leaves(optax.tree.get(x.opt_state, "mu")) for x in (state, plain))
    largest = max(np.abs(x).max() for x in want)
    assert largest > 1e-4
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * largest)
