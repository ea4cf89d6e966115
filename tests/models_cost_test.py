"""The counts equal those of the network."""

import collections

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from clef_jax import models
from clef_jax.convolution.rules import ConvShape
from clef_jax.models import cost, layer as layer_lib, size as size_lib


@pytest.mark.parametrize("name", size_lib.SIZES)
@pytest.mark.parametrize("in_channels", [1, 12])
def test_parameters_are_those_of_the_network(name, in_channels):
    create = lambda: models.create_encoder(name, in_channels=in_channels, rngs=nnx.Rngs(0))  # noqa: E731
    params = nnx.state(nnx.eval_shape(create), nnx.Param)
    want = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert cost.num_parameters(size_lib.by_name(name), in_channels) == want


@pytest.mark.parametrize(
    ("name", "gigaflops"), [("small", 0.058), ("medium", 2.28), ("large", 12.08)]
)
def test_operations_are_those_of_ten_seconds(name, gigaflops):
    found = cost.forward_flops(size_lib.by_name(name), 5000) / 1e9
    assert found == pytest.approx(gigaflops, rel=0.01)


def test_twice_the_time_is_twice_the_operations():
    size = size_lib.by_name("small")
    once, twice = cost.forward_flops(size, 5120), cost.forward_flops(size, 10240)
    assert twice == pytest.approx(2 * once, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gigaflops"), [("small", 0.058), ("medium", 2.28), ("large", 12.08)]
)
def test_a_training_step_takes_three_passes_of_two_views(name, gigaflops):
    flops = cost.encoder_flops(size_lib.by_name(name), 5000, 1) / (3 * 2)
    assert flops / 1e9 == pytest.approx(gigaflops, rel=0.01)


def test_loss_grows_with_own_rows_and_all_patients():
    one = cost.loss_flops(1, 1, 256)
    assert one == 3 * 2 * 2 * 2 * 256
    assert cost.loss_flops(8, 128, 256) == 8 * 128 * one


def test_a_step_is_the_encoder_and_the_loss():
    size = size_lib.by_name("small")
    flops = cost.encoder_flops(size, 5000, 8) + cost.loss_flops(8, 128, size.embedding_width)
    assert cost.model_flops(size, 5000, 8, 128) == flops


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large"])
def test_layers_are_those_that_the_network_convolves(size, monkeypatch):
    seen = collections.Counter()

    def spy(x, kernel, bias, *, stride, groups, activate):
        taps, depth, channels = kernel.shape
        seen[ConvShape(x.shape[1], taps, depth, channels, groups, stride)] += 1
        return jnp.zeros((x.shape[0], -(-x.shape[1] // stride), kernel.shape[2]))

    monkeypatch.setattr(layer_lib, "grouped_conv", spy)

    def embed(signal):
        return models.create_encoder(size, rngs=nnx.Rngs(0))(signal)

    jax.eval_shape(embed, jax.ShapeDtypeStruct((1, 1001, 1), jnp.float32))
    assert cost.conv_shapes(models.SIZES[size], 1001) == dict(seen)


def test_layers_do_the_work_that_the_cost_model_counts():
    size = models.SIZES["small"]
    counted = [op for op in cost.linear_ops(size, 5000) if op.taps > 1]
    flops = sum(
        count * 2 * -(-one.length // one.stride) * one.channels * one.group_channels * one.taps
        for one, count in cost.conv_shapes(size, 5000).items()
    )
    assert flops == sum(one.flops for one in counted)
