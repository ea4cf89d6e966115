"""The gradient by buckets equals the gradient by the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clef_jax.training import flat_gradient


def make_params():
    rng = np.random.default_rng(0)
    shapes = {"stem": (16, 1, 8), "bias": (8,), "kernel": (8, 4), "scale": ()}
    return {k: jnp.asarray(rng.standard_normal(s), jnp.float32) for k, s in shapes.items()}


def loss(params):
    return sum(jnp.sin(x * (i + 1)).sum() for i, x in enumerate(jax.tree.leaves(params)))


@pytest.mark.parametrize("bucket_bytes", [1, 100, 48 * 2**20])
def test_buckets_hold_the_gradient_of_the_parameters(monkeypatch, bucket_bytes):
    monkeypatch.setattr(flat_gradient, "BUCKET_BYTES", bucket_bytes)
    params = make_params()
    buckets = flat_gradient.empty_buckets(params)
    assert len(buckets) == {1: 4, 100: 2}.get(bucket_bytes, 1)
    got = jax.grad(lambda b: loss(flat_gradient.attach(params, b)))(buckets)
    want = jax.grad(loss)(params)
    jax.tree.map(np.testing.assert_array_equal, flat_gradient.to_tree(got, params), want)


def test_the_parameters_themselves_have_no_gradient():
    params = make_params()
    buckets = flat_gradient.empty_buckets(params)
    gradient = jax.grad(lambda p: loss(flat_gradient.attach(p, buckets)))(params)
    assert not any(np.any(x) for x in jax.tree.leaves(gradient))
    jax.tree.map(np.testing.assert_array_equal, flat_gradient.attach(params, buckets), params)
