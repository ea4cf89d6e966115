"""Encoders in float16: what is rounded, what is not, and how much it changes."""

import head_examples
import jax
import numpy as np
import pytest

from clef_jax import mesh as mesh_lib
from clef_jax.convert import onnx_file, onnx_half, onnx_session, verify
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    mesh, recipe = mesh_lib.make_mesh(jax.devices()[:1]), Recipe(window_seconds=2.0)
    model = encoder_lib.random("tiny", mesh, seed=0, recipe=recipe)
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    return onnx_file.write(model, path, layers=True, head=head_examples.PLATT).path


@pytest.mark.parametrize("network", [False, True])
def test_outputs_stay_float32_and_close(exact, tmp_path, network):
    model = onnx_half.convert(onnx.load(exact), network=network)
    onnx.save(model, tmp_path / "half.onnx")
    onnx.checker.check_model(tmp_path / "half.onnx", full_check=True)
    given = {"signal_mv": verify.windows(1, 1000, 500.0)[:, 0]}
    some, others = (
        onnx_session.session(path).run(None, given) for path in (exact, tmp_path / "half.onnx")
    )
    for one, other in zip(some, others, strict=True):
        assert other.dtype == np.float32
        assert 0 < np.abs(one - other).max() < 0.01 * np.abs(one).max()


@pytest.mark.parametrize("network", [False, True])
def test_only_the_encoder_is_rounded(exact, network):
    model = onnx_half.convert(onnx.load(exact), network=network)
    float16 = onnx.TensorProto.FLOAT16
    for constant in model.graph.initializer:
        is_encoder, is_weight = constant.name.startswith("encoder/"), "weight" in constant.name
        rounded = is_encoder and (is_weight or (network and "bias" in constant.name))
        assert (constant.data_type == float16) == rounded, constant.name
    means = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    of_encoder = [node for node in means if node.name.startswith("encoder/")]
    assert of_encoder
    if network:
        assert all(casts[node.input[0]].attribute[0].i == 1 for node in of_encoder)  # to float32
