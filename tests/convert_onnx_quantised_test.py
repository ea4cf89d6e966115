"""Files with fewer bits are smaller, stay exact outside of the encoder, and are checked."""

import head_examples
import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.convert import check_windows, onnx_file, onnx_quantised, onnx_session, verify
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


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    recipe = Recipe(window_seconds=2.0)
    model = encoder_lib.random("tiny", MESH, seed=0, recipe=recipe)
    path = tmp_path_factory.mktemp("answering") / "model.onnx"
    return onnx_file.write(model, path, head=head_examples.MULTICLASS).path


def windows():
    yield verify.windows(1, 1000, 500.0)[:8]


def test_int8_is_smaller_and_its_error_is_the_one_that_is_reported(exact, tmp_path):
    found = onnx_quantised.quantise(exact, tmp_path / "int8.onnx", windows=windows())
    assert list(tmp_path.iterdir()) == [found.path]
    assert found.num_bytes == found.path.stat().st_size
    assert found.size_ratio == found.num_bytes / exact.stat().st_size < 0.5
    assert found.latency_seconds > 0 < found.float_latency_seconds
    (given,) = windows()
    one, other = (
        onnx_session.session(path).run(None, {"signal_mv": given[:, 0]})[0]
        for path in (exact, found.path)
    )
    agreement = found.agreement
    assert agreement.num_windows == 8
    assert agreement.flipped is None
    assert agreement.largest_difference == pytest.approx(np.abs(one - other).max(), rel=1e-3)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert agreement.smallest_cosine == pytest.approx(cosine.min(), abs=1e-6)
    assert 0.99 < agreement.smallest_centred_cosine < agreement.smallest_cosine < 1
    before, after = constants(exact), constants(found.path)
    kept = [name for name in before if name.startswith("preprocessing/")]
    assert kept
    assert all(np.array_equal(before[name], after[name]) for name in kept)


@pytest.mark.parametrize("form", onnx_quantised.FORMS)
def test_answers_are_compared_on_simulated_people(answering, tmp_path, form, monkeypatch):
    monkeypatch.setattr(check_windows, "NUM_SIMULATED", 20)
    found = onnx_quantised.quantise(answering, tmp_path / "small.onnx", form)
    assert found.agreement.num_windows == 20
    assert 0 < found.agreement.largest_answer_difference < 0.05
    assert 0 <= found.agreement.flipped <= 0.01
    before, after = constants(answering), constants(found.path)
    assert all(np.array_equal(before[name], after[name]) for name in before if "head/" in name)


def damage(path, out, size):
    """Adds an encoder to a file, of which one weight is so large that the others become 0."""
    from onnx import numpy_helper

    model = onnx.load(path)
    for constant in model.graph.initializer:
        if constant.name.startswith("encoder/") and constant.name.endswith("conv2.conv.weight"):
            kernel = numpy_helper.to_array(constant).copy()
            kernel[:, 0, 0] = size
            constant.CopyFrom(numpy_helper.from_array(kernel, constant.name))
    onnx.save(model, out)
    return out


@pytest.mark.parametrize(("form", "size"), [("int8 weights", 50), ("float16 network", 1e5)])
def test_a_file_that_disagrees_is_refused_and_none_is_left(answering, tmp_path, form, size):
    broken = damage(answering, tmp_path / "broken.onnx", size)
    out = tmp_path / "small.onnx"
    out.write_bytes(b"of an earlier model")
    with refuses("small.onnx", problem="quantised_differs"):
        onnx_quantised.quantise(broken, out, form, windows=windows())
    assert list(tmp_path.iterdir()) == [broken]


def test_weights_are_within_half_a_step_of_their_channel(exact, tmp_path):
    found = onnx_quantised.quantise(exact, tmp_path / "int8.onnx", windows=windows())
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
    found = onnx_quantised.quantise(
        tmp_path / "zeros.onnx", tmp_path / "int8.onnx", windows=windows()
    )
    assert found.agreement.largest_difference < 0.1
    assert not constants(found.path)[f"{name}.int8"][3].any()


def test_a_file_without_preprocessing(tmp_path, monkeypatch):
    monkeypatch.setattr(check_windows, "NUM_SIMULATED", 20)
    model = encoder_lib.random("tiny", MESH, seed=0, recipe=Recipe(window_seconds=2.0))
    exact = onnx_file.write(model, tmp_path / "model.onnx", preprocessing=False).path
    found = onnx_quantised.quantise(exact, tmp_path / "int8.onnx")
    assert found.agreement.smallest_cosine > 0.999


def test_files_that_are_not_ours_are_reported(exact, tmp_path):
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
