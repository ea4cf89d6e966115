"""Queries weight time steps; without a preference they take the mean."""

import types

import numpy as np
from culprits import refuses

from clef_jax.embedding import attention_pooling
from clef_jax.embedding.attention_pooling import AttentionPooled


def test_queries_of_zeros_take_the_mean():
    steps = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    pooled = attention_pooling.pool(steps, np.zeros((2, 5)))
    np.testing.assert_allclose(pooled, steps.mean(axis=1), atol=1e-6)


def test_each_query_pools_its_own_share_of_the_features():
    steps = np.zeros((1, 4, 4), np.float32)
    steps[0, 1, 0] = steps[0, 3, 1] = 1.0
    steps[0, :, 2:] = np.arange(4)[:, None]
    query = np.array([[1e3, 0, 0, 0], [0, 1e3, 0, 0]])
    pooled = attention_pooling.pool(steps, query)
    np.testing.assert_allclose(pooled[0], [1, 0, 3, 3], atol=1e-6)


def test_an_encoder_without_time_steps_is_refused():
    encoder = types.SimpleNamespace(name="stored features")
    with refuses("stored features", problem="no_time_steps"):
        AttentionPooled(encoder, "last", np.zeros((1, 4)))
