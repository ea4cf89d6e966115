"""A file of weights becomes a model whose size is inferred from the shapes."""

import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import convert, mesh as mesh_lib
from clef_jax.baselines import ecgfounder
from clef_jax.convert import torch_file
from clef_jax.embedding import weight_file
from clef_jax.models import create_encoder

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


def save(path, encoder, **more):
    torch_file.write_safetensors(path, {**convert.to_torch(encoder), **more}, {})
    return path


@pytest.mark.parametrize(("size", "channels"), [("tiny", 1), ("tiny", 12), ("small", 1)])
def test_the_size_is_inferred_from_the_shapes(tmp_path, size, channels):
    encoder = create_encoder(size, in_channels=channels, rngs=nnx.Rngs(1))
    found = weight_file.read(save(tmp_path / "w.safetensors", encoder), ONE)
    assert (found.model.size, found.model.name, found.head) == (size, "w", None)
    assert found.model.encoder.in_channels == channels
    same = jax.tree.map(np.array_equal, found.model.params, nnx.state(encoder, nnx.Param))
    assert all(jax.tree.leaves(same))
    assert any("batch-norm tensors" in note for note in found.notes)


@pytest.mark.slow
def test_a_classifier_comes_along(tmp_path):
    encoder = create_encoder(ecgfounder.SIZE, rngs=nnx.Rngs(1))
    head = {
        ecgfounder.HEAD_WEIGHT: np.ones((3, 1024), np.float32),
        ecgfounder.HEAD_BIAS: np.zeros(3, np.float32),
    }
    found = weight_file.read(save(tmp_path / "w.safetensors", encoder, **head), ONE)
    assert found.model.size == ecgfounder.SIZE
    np.testing.assert_array_equal(found.head.weight, head[ecgfounder.HEAD_WEIGHT])
    np.testing.assert_array_equal(found.head.bias, head[ecgfounder.HEAD_BIAS])
    assert found.head.names == ("class_0", "class_1", "class_2")
    assert found.head.layer == list(found.model.layers)[-1]
    assert any("filter" in note for note in found.notes)


def test_a_published_name_with_other_content_is_reported(tmp_path):
    encoder = create_encoder("tiny", rngs=nnx.Rngs(1))
    path = tmp_path / "clef_small.ckpt"
    pytest.importorskip("torch")
    torch_file.write_lightning(path, encoder)
    assert "clef_small.ckpt" in weight_file.read(path, ONE).notes[0]


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "w.bin").write_text("")
    with refuses("w.bin", ".ckpt", ".pt", ".pth", ".safetensors"):
        weight_file.read(tmp_path / "w.bin", ONE)
