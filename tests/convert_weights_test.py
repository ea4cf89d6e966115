"""Weights are mapped exactly to and from the reference's names, or rejected by name."""

import crc_weight
import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import convert
from clef_jax.models import create_encoder

pytestmark = pytest.mark.usefixtures("quick_compiler")

STEM = "first_conv.conv.weight"


@pytest.fixture
def weights():
    return convert.to_torch(create_encoder("tiny", rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_every_size_has_the_references_keys_and_shapes_in_its_order(size):
    golden = crc_weight.load_golden(size)
    encoder = nnx.eval_shape(lambda: create_encoder(size, rngs=nnx.Rngs(0)))
    table = dict(convert.key_shapes(encoder))
    assert list(table) == list(golden["keys"])
    assert [",".join(map(str, shape)) for shape in table.values()] == list(golden["shapes"])


def test_the_round_trip_is_exact_and_norms_come_out_neutral():
    weights = crc_weight.make_weights("small")
    back = convert.to_torch(convert.from_torch(weights, "small"))
    assert list(back) == list(weights)
    for key, value in back.items():
        assert (value.dtype, value.shape) == (weights[key].dtype, weights[key].shape), key
        norm = key.rsplit(".", 1)[0].endswith(("bn", "bn1", "bn2", "bn3"))
        neutral = float(key.endswith((".weight", ".running_var")))
        np.testing.assert_array_equal(value, neutral if norm else weights[key], err_msg=key)


def test_our_round_trip_keeps_every_parameter():
    encoder = create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(3))
    back = convert.from_torch(convert.to_torch(encoder), "tiny")
    assert back.in_channels == 12
    same = jax.tree.map(np.array_equal, nnx.state(encoder), nnx.state(back))
    assert all(jax.tree.leaves(same))


def test_the_prefix_and_the_norms_may_be_there_or_not(weights):
    expected = convert.to_torch(convert.from_torch(weights, "tiny"))
    prefixed = {convert.PREFIX + key: value for key, value in weights.items()}
    bare = {k: v for k, v in weights.items() if "bn" not in k}
    for given in (prefixed, bare):
        got = convert.to_torch(convert.from_torch(given, "tiny"))
        assert all(np.array_equal(got[key], expected[key]) for key in expected)


def test_half_precision_becomes_float32(weights):
    half = {k: v.astype(np.float16) if v.ndim else v for k, v in weights.items()}
    encoder = convert.from_torch(half, "tiny")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(encoder))} == {"float32"}


def refused(weights, *culprits, size="tiny"):
    with refuses(*culprits, error=ValueError) as error:
        convert.from_torch(weights, size)
    assert str(error.value).endswith(".")


def test_unknown_missing_and_misshapen_keys_are_named_in_one_sentence(weights):
    del weights["first_conv.conv.bias"]
    weights["dense.weight"] = np.zeros((2, 16), np.float32)
    weights[STEM] = weights[STEM][:, :, :15]
    refused(
        weights,
        *("unknown: dense.weight", "missing: first_conv.conv.bias"),
        *("misshapen: first_conv.conv.weight", "[8, 1, 15]", "[8, 1, 16]"),
    )


def test_a_misshapen_norm_is_refused_although_it_is_never_used(weights):
    weights["first_bn.running_var"] = np.ones(9, np.float32)
    refused(weights, "first_bn.running_var [9]")


def test_weights_of_another_size_are_refused(weights):
    refused(weights, "'small'", size="small")
    refused({}, "missing: first_conv.conv.weight")


def test_an_unknown_size_names_its_nearest_neighbour(weights):
    refused(weights, "'tinny'", "'tiny'", size="tinny")


def test_a_mixture_of_prefixed_and_bare_keys_is_refused(weights):
    weights[convert.PREFIX + STEM] = weights[STEM]
    refused(weights, "'backbone.'", STEM)


@pytest.mark.parametrize("value", [np.zeros((8, 1, 16), np.int64), np.full((8, 1, 16), "x")])
def test_weights_that_are_not_real_numbers_are_refused(weights, value):
    weights[STEM] = value
    with refuses("first_conv.conv.weight", error=TypeError):
        convert.from_torch(weights, "tiny")


def test_pytorch_tensors_are_arrays_too(weights):
    torch = pytest.importorskip("torch")
    tensors = {k: torch.tensor(v) for k, v in weights.items()}
    encoder = convert.from_torch(tensors, "tiny")
    assert all(np.array_equal(v, weights[k]) for k, v in convert.to_torch(encoder).items())
