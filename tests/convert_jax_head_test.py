"""Heads in JAX give the answers of the model."""

import head_examples
import jax
import numpy as np
import pytest

from clef_jax.convert import exported_head, jax_head

FEATURES = np.random.default_rng(0).standard_normal((50, head_examples.WIDTH)).astype(np.float32)


@pytest.mark.parametrize("name", head_examples.ALL)
def test_answers_are_the_model_s(name):
    head = head_examples.ALL[name]
    with jax.default_matmul_precision("highest"):
        output = jax_head.answers(exported_head.fold(head), jax.numpy.asarray(FEATURES))
    output = np.asarray(output)
    want = exported_head.answers(head, FEATURES)
    np.testing.assert_allclose(output / head.scale, want / head.scale, atol=2e-6)
