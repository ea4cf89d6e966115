"""Heads in ONNX graphs give the answers of the model."""

import head_examples
import numpy as np
import onnx_run
import pytest

from clef_jax.convert import exported_head, onnx_head

pytest.importorskip("onnxruntime")
FEATURES = np.random.default_rng(0).standard_normal((50, head_examples.WIDTH)).astype(np.float32)


@pytest.mark.parametrize("name", head_examples.ALL)
def test_answers_are_the_model_s(name):
    head = head_examples.ALL[name]
    folded = exported_head.fold(head)
    (output,) = onnx_run.run(
        lambda builder, x: [onnx_head.add_head(builder, folded, x, "answers")], FEATURES
    )
    assert output.dtype == np.float32
    want = exported_head.answers(head, FEATURES)
    np.testing.assert_allclose(output / head.scale, want / head.scale, atol=2e-6)
