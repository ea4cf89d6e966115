"""The nodes of the encoder compute what the encoder computes."""

import sys

import jax
import numpy as np
import onnx_run
import pytest
import whole_network
from culprits import refuses
from flax import nnx

from clef_jax import convert
from clef_jax.convert import onnx_graph
from clef_jax.models import create_encoder

pytest.importorskip("onnxruntime")


def make(size="tiny", **options):
    """An encoder none of whose weights has a neutral value."""
    encoder = create_encoder(size, rngs=nnx.Rngs(0), **options)
    state = nnx.state(encoder, nnx.Param)
    rng = np.random.default_rng(1)
    changed = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape).astype("f"), state)
    nnx.update(encoder, changed)
    return encoder


def check(encoder, signal):
    """Every layer, on [B, T, C]."""
    weights, num_samples = convert.to_torch(encoder, norms=False), signal.shape[1]

    def add(builder, name):
        return onnx_graph.add_network(
            builder, weights, encoder.size, name, num_samples, layers=True
        )

    embedding, *stages = onnx_run.run(add, signal.swapaxes(1, 2))
    wanted = whole_network.stages(encoder, signal)
    assert len(stages) == len(wanted)
    for found, want in zip([embedding, *stages], [wanted[-1], *wanted], strict=True):
        np.testing.assert_allclose(found, want, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("num_samples", [1, 2, 15, 16, 332, 333, 334, 335, 337])
def test_lengths_of_every_parity_are_padded_as_ours(num_samples):
    # Below zero throughout, the pad of an odd length is what a maximum takes.
    rng = np.random.default_rng(0)
    check(make(), rng.standard_normal((3, num_samples, 1)).astype(np.float32) - 3)


@pytest.mark.parametrize("in_channels", [2, 12])
def test_several_leads(in_channels):
    signal = np.random.default_rng(0).standard_normal((2, 300, in_channels))
    check(make(in_channels=in_channels), signal.astype(np.float32))


def test_input_affines_of_converted_networks():
    signal = np.random.default_rng(0).standard_normal((2, 300, 1)).astype(np.float32)
    check(make(input_affine=True), signal)


def test_small_at_its_own_length():
    signal = np.random.default_rng(0).standard_normal((1, 5000, 1)).astype(np.float32)
    check(create_encoder("small", rngs=nnx.Rngs(0)), signal)


def test_without_layers_there_is_one_output():
    encoder = make()
    names = onnx_graph.add_network(
        onnx_graph.Builder(), convert.to_torch(encoder), encoder.size, "x", 300, layers=False
    )
    assert names == ["embedding"]


def test_equal_constants_are_stored_once_and_weights_keep_their_names():
    builder = onnx_graph.Builder()
    builder.enter("part")
    assert builder.number(2) == builder.number(2) != builder.number(3)
    assert builder.integers(2) != builder.number(2)
    assert builder.constant(np.ones(3), "stem.weight") == "part/stem.weight"
    assert [constant.name for constant in builder.constants][-1] == "part/stem.weight"
    assert len(builder.constants) == 4


def test_a_missing_package_is_reported_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refuses("onnx", "pip install 'clef_jax[onnx]'"):
        onnx_graph.Builder()
