"""The encoder agrees with the public PyTorch reference, at every size and awkward length."""

import dataclasses
import pathlib
import runpy

import crc_weight
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax.convert import from_torch, to_torch
from clef_jax.machine import use_platform
from clef_jax.models import SIZES, Net1D, create_encoder

FEATURE_TOLERANCE = {"float32": 5e-6, "float64": 1e-9}


def tiny(**options):
    return create_encoder("tiny", rngs=nnx.Rngs(0), **options)


def embed(encoder, signal):
    graph, params = nnx.split(encoder)
    return jax.jit(lambda params, signal: nnx.merge(graph, params)(signal))(params, signal)


def gradients(encoder, signal, cotangent):
    """Gradients of sum(embedding * cotangent) with respect to weights and signal."""
    graph, params = nnx.split(encoder)

    def loss(params, signal):
        return (nnx.merge(graph, params)(signal) * cotangent).sum()

    by_params, by_signal = jax.jit(jax.grad(loss, (0, 1)))(params, signal)
    return to_torch(nnx.merge(graph, by_params)), by_signal


def assert_features(size, length):
    features = embed(
        from_torch(crc_weight.make_weights(size), size), crc_weight.make_signal(length)
    )
    golden = crc_weight.load_golden(size)[f"features_float32_{length}"]
    np.testing.assert_allclose(features, golden, rtol=0, atol=FEATURE_TOLERANCE["float32"])


def assert_gradients(size):
    golden = crc_weight.load_golden(size)
    encoder = from_torch(crc_weight.make_weights(size), size)
    cotangent = crc_weight.make_cotangent(SIZES[size].embedding_width)
    by_key, by_signal = gradients(encoder, crc_weight.make_signal(5000), cotangent)
    for got, want in (
        (by_signal.swapaxes(1, 2), golden["grad_x"]),
        (by_key["first_conv.conv.weight"], golden["grad_first_conv_weight"]),
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    norms = [np.linalg.norm(by_key[str(k)].astype(float)) for k in golden["gradient_norm_keys"]]
    np.testing.assert_allclose(norms, golden["gradient_norms"], rtol=1e-5)


@pytest.mark.parametrize("length", [4999, 1000])
def test_small_features_are_the_references(length):
    assert_features("small", length)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "length"),
    [("small", 5000), ("small", 2500), ("medium", 4999), ("medium", 1000), ("large", 5000)],
)
def test_features_of_all_sizes_are_the_references(size, length):
    assert_features(size, length)


def test_small_gradients_are_the_references():
    assert_gradients("small")


@pytest.mark.slow
def test_medium_gradients_are_the_references():
    assert_gradients("medium")


def test_every_block_of_small_is_the_references():
    golden = crc_weight.load_golden("small")
    encoder = from_torch(crc_weight.make_weights("small"), "small")
    x = encoder.stem(jnp.asarray(crc_weight.make_signal(5000)))
    norms = {"first_conv": jnp.linalg.norm(x)}
    x = jax.nn.silu(x)
    for i, stage in enumerate(encoder.stage_list):
        for j, block in enumerate(stage.blocks):
            x = jax.jit(block.__call__)(x)
            norms[f"stage{i}.block{j}"] = jnp.linalg.norm(x)
    assert list(norms) == list(golden["block_names"])
    np.testing.assert_allclose(list(norms.values()), golden["block_norms"], rtol=1e-5)


def test_float64_features_are_the_references():
    golden = crc_weight.load_golden("small")
    with jax.enable_x64(True):
        weights = {
            k: v.astype(np.float64) if v.dtype == np.float32 else v
            for k, v in crc_weight.make_weights("small").items()
        }
        signal = crc_weight.make_signal(1000).astype(np.float64)
        features = np.asarray(embed(from_torch(weights, "small"), signal))
    assert features.dtype == np.float64
    np.testing.assert_allclose(
        features, golden["features_float64_1000"], rtol=0, atol=FEATURE_TOLERANCE["float64"]
    )


@pytest.mark.parametrize("length", [1, 3, 18])
def test_every_length_has_an_embedding_that_does_not_depend_on_the_batch(length):
    signal = jax.random.normal(jax.random.key(length), (3, length, 1))
    together = embed(tiny(), signal)
    assert together.shape == (3, 16)
    alone = jnp.concatenate([embed(tiny(), signal[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_stages_end_in_the_embedding():
    signal = jax.random.normal(jax.random.key(0), (2, 60, 1))
    means = tiny().stages(signal)
    assert [m.shape for m in means] == [(2, 8), (2, 16)]
    np.testing.assert_array_equal(means[-1], tiny()(signal))


def test_an_odd_length_is_pooled_with_a_zero():
    """Uses a block whose residual path returns zero, so that only the shortcut remains."""
    encoder = tiny()
    block = encoder.stage_list[0].blocks[0]
    block.expand.kernel[...] = jnp.zeros_like(block.expand.kernel[...])
    block.expand.bias[...] = jnp.zeros_like(block.expand.bias[...])
    pooled = block(jnp.full((1, 5, 8), -2.0))
    np.testing.assert_array_equal(pooled[0, :, 0], [-2, -2, 0])


def test_the_forms_for_a_tpu_compute_the_same():
    """Two and twelve groups, odd and even lengths."""
    size = dataclasses.replace(SIZES["tiny"], stage_channels=(16, 96))
    found = {}
    for platform in ("cpu", "tpu"):
        encoder = Net1D(size, rngs=nnx.Rngs(0))
        signal = jax.random.normal(jax.random.key(0), (128, 150, 1))
        with use_platform(platform):
            features = embed(encoder, signal)
            found[platform] = [features, *jax.tree.leaves(gradients(encoder, signal, features))]
    for ours, theirs in zip(found["tpu"], found["cpu"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_bfloat16_activations_stay_close_and_keep_float32_weights():
    signal = jax.random.normal(jax.random.key(0), (2, 300, 1))
    encoder = tiny(dtype="bfloat16")
    assert {w.dtype for w in jax.tree.leaves(nnx.state(encoder))} == {jnp.dtype("float32")}
    embedding = embed(encoder, signal)
    assert embedding.dtype == jnp.float32
    np.testing.assert_allclose(embedding, embed(tiny(), signal), atol=0.02)
    assert not np.array_equal(embedding, embed(tiny(), signal))


def test_recomputing_blocks_changes_no_gradient():
    signal = jax.random.normal(jax.random.key(0), (2, 99, 1))
    plain, _ = gradients(tiny(), signal, 1.0)
    recomputed, _ = gradients(tiny(remat=True), signal, 1.0)
    for key, gradient in plain.items():
        np.testing.assert_allclose(gradient, recomputed[key], atol=1e-5, err_msg=key)


def test_the_same_seed_gives_the_same_weights_within_pytorchs_bounds():
    first, second, other = (
        to_torch(create_encoder("tiny", rngs=nnx.Rngs(seed))) for seed in (1, 1, 2)
    )
    key = "stage_list.1.block_list.0.conv2.conv.weight"
    np.testing.assert_array_equal(first[key], second[key])
    assert not np.array_equal(first[key], other[key])
    bound = (first[key].shape[1] * first[key].shape[2]) ** -0.5
    assert 0.9 * bound < np.abs(first[key]).max() <= bound
    assert np.abs(first[key.replace("weight", "bias")]).max() <= bound


@pytest.mark.parametrize(
    ("shape", "culprits"),
    [((2, 50), ("[2, 50]",)), ((2, 50, 12), ("[2, 50, 12]", "1")), ((0, 50, 1), ("[0, 50, 1]",))],
)
def test_a_signal_of_the_wrong_shape_is_refused(shape, culprits):
    with refuses(*culprits, error=ValueError):
        tiny()(jnp.zeros(shape))


def test_raw_integers_are_refused():
    with refuses("millivolts", "int16", error=TypeError):
        tiny()(jnp.zeros((1, 50, 1), jnp.int16))


def test_no_channel_at_all_is_refused():
    with refuses("0", error=ValueError):
        tiny(in_channels=0)


def test_plain_pytorch_computes_the_same():
    torch = pytest.importorskip("torch")
    twin_path = pathlib.Path(__file__).parents[1] / "benchmarks" / "torch_net1d.py"
    encoder = tiny(in_channels=12)
    twin = runpy.run_path(str(twin_path))["TorchNet1D"]("tiny", in_channels=12)
    weights = {k: torch.tensor(v) for k, v in to_torch(encoder).items() if k in twin.state_dict()}
    twin.load_state_dict(weights, strict=True)
    signal = np.random.default_rng(0).standard_normal((2, 333, 12)).astype(np.float32)
    with torch.no_grad():
        want = twin(torch.tensor(signal).swapaxes(1, 2)).numpy()
    np.testing.assert_allclose(embed(encoder, signal), want, atol=2e-6)
