"""int8 files are smaller, say how far they are off, and keep the preprocessing exact."""

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.convert import onnx_file, onnx_quantised, onnx_session, verify
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
MESH = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    model = encoder_lib.random("small", MESH, seed=0, recipe=Recipe(window_seconds=2.0))
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    return onnx_file.write(model, path).path


def constants(path):
    from onnx import numpy_helper

    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def test_int8_is_smaller_and_its_error_is_the_one_that_is_reported(exact, tmp_path):
    found = onnx_quantised.quantise(exact, tmp_path / "int8.onnx")
    assert list(tmp_path.iterdir()) == [found.path]
    assert found.num_bytes == found.path.stat().st_size
    assert found.size_ratio == found.num_bytes / exact.stat().st_size < 0.5
    assert found.latency_seconds > 0 < found.float_latency_seconds
    given = {"signal_mv": verify.windows(1, 1000, 500.0)[:, 0]}
    one, other = (onnx_session.session(path).run(None, given)[0] for path in (exact, found.path))
    assert found.largest_difference == pytest.approx(np.abs(one - other).max(), rel=1e-3)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert found.smallest_cosine == pytest.approx(cosine.min(), abs=1e-6)
    assert 0.99 < found.smallest_centred_cosine < found.smallest_cosine < 1
    before, after = constants(exact), constants(found.path)
    kept = [name for name in before if name.startswith("preprocessing/")]
    assert kept
    assert all(np.array_equal(before[name], after[name]) for name in kept)


def test_weights_are_within_half_a_step_of_their_channel(exact, tmp_path):
    found = onnx_quantised.quantise(exact, tmp_path / "int8.onnx")
    before, after = constants(exact), constants(found.path)
    rounded = [name.removesuffix(".int8") for name in after if name.endswith(".int8")]
    assert len(rounded) == 51  # the stem, three convolutions and two products in ten blocks
    for name in rounded:
        steps, scale = after[f"{name}.int8"], after[f"{name}.scale"]
        assert steps.dtype == np.int8
        assert (np.abs(steps.reshape(len(steps), -1)).max(axis=1) == 127).all()
        scale = scale.reshape(-1, *[1] * (steps.ndim - 1))
        assert (np.abs(steps * scale - before[name]) <= 0.501 * scale).all()


def test_a_channel_of_zeros_stays_zero(exact, tmp_path):
    from onnx import numpy_helper

    model = onnx.load(exact)
    name = "encoder/stage_list.0.block_list.0.conv3.conv.weight"
    (constant,) = (one for one in model.graph.initializer if one.name == name)
    kernel = numpy_helper.to_array(constant).copy()
    kernel[3] = 0
    constant.CopyFrom(numpy_helper.from_array(kernel, name))
    onnx.save(model, tmp_path / "zeros.onnx")
    found = onnx_quantised.quantise(tmp_path / "zeros.onnx", tmp_path / "int8.onnx")
    assert found.largest_difference < 0.1
    assert not constants(found.path)[f"{name}.int8"][3].any()


def test_a_file_without_preprocessing(tmp_path):
    model = encoder_lib.random("tiny", MESH, seed=0, recipe=Recipe(window_seconds=2.0))
    exact = onnx_file.write(model, tmp_path / "model.onnx", preprocessing=False).path
    assert onnx_quantised.quantise(exact, tmp_path / "int8.onnx").smallest_cosine > 0.999


def test_files_that_are_not_ours_are_told(exact, tmp_path):
    out = tmp_path / "int8.onnx"
    with refuses(tmp_path / "none.onnx", problem="missing_file"):
        onnx_quantised.quantise(tmp_path / "none.onnx", out)
    (tmp_path / "text.onnx").write_bytes(b"no protobuf")
    with refuses("text.onnx", problem="no_onnx"):
        onnx_quantised.quantise(tmp_path / "text.onnx", out)
    foreign = onnx.load(exact)
    foreign.producer_name = "another"
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with refuses("foreign.onnx", problem="foreign_file"):
        onnx_quantised.quantise(tmp_path / "foreign.onnx", out)
    assert not out.exists()
