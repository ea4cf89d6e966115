"""ECGFounder's weights give the public code's outputs, and batch norms fold exactly."""

import pathlib

import crc_weight
import jax
import numpy as np
import published_weights as published
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import convert
from clef_jax.baselines import ecgfounder
from clef_jax.convolution.swish import swish
from clef_jax.models import create_encoder

TOLERANCE = {"float32": 5e-6, "float64": 1e-9}
HEAD_SHAPES = {"dense.weight": (4, 1024), "dense.bias": (4,)}


def embed(encoder, signal):
    graph, params = nnx.split(encoder)
    return np.asarray(jax.jit(lambda params, x: nnx.merge(graph, params)(x))(params, signal))


def with_head(weights, width=16):
    rng = np.random.default_rng(0)
    head = {"dense.weight": rng.standard_normal((3, width)), "dense.bias": np.zeros(3)}
    return {**weights, **{key: value.astype(np.float32) for key, value in head.items()}}


SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_goldens = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no goldens here")


def blocks(encoder, signal):
    """The name and the output of each part of the network, and the features."""
    x = encoder.stem(signal)
    yield "first_conv", x
    x = swish(x)
    yield "first_activation", x
    for i, stage in enumerate(encoder.stage_list):
        for j, block in enumerate(stage.blocks):
            x = block(x)
            yield f"stage_list.{i}.block_list.{j}", x


@needs_goldens
@pytest.mark.parametrize(
    ("num_leads", "manifest"), [(1, "ecgfounder_1lead_4cls"), (12, "ecgfounder_12lead_150cls")]
)
def test_stages_and_gradients_are_those_of_the_public_code(num_leads, manifest):
    narrow = published.make(published.manifest(SHARED, manifest))
    weights = {k: v.astype("float64") if "num_" not in k else v for k, v in narrow.items()}
    want, summary = published.golden(SHARED, f"ecgfounder_{num_leads}lead")
    with jax.enable_x64(True):
        encoder, head = ecgfounder.from_torch(weights), ecgfounder.head(weights)
        for length in summary["lens"]:
            signal = published.signal(length, num_leads, "float64")
            got, features = published.run(
                encoder, lambda net, x: (dict(blocks(net, x)), net(x)), signal
            )
            expected = summary["stages_float64"][str(length)]
            order = [(stage["stage"], got[stage["stage"]]) for stage in expected]
            assert len(order) == len(got)
            published.assert_stages(order, expected, channels_last=got)
            published.assert_features(features, want[f"features_float64_{length}"], 1e-9)
            logits = features @ head.weight.T + head.bias
            published.assert_features(logits, want[f"logits_float64_{length}"], 1e-9)
        assert_gradients(encoder, signal, want["grad_x_float64_1000"], summary)
    network = ecgfounder.from_torch(narrow)
    for length in summary["lens"]:
        signal = published.signal(length, num_leads)
        features = published.run(network, lambda net, x: net(x), signal)
        published.assert_features(features, want[f"features_float32_{length}"], 5e-6)


def assert_gradients(encoder, signal, want_signal, summary):
    """Compares the gradients of sum(features ** 2) / 2 with those of the golden."""
    graph, state = nnx.split(encoder)

    def energy(state, signal):
        return (nnx.merge(graph, state)(signal) ** 2).sum() / 2

    grads, of_signal = jax.jit(jax.grad(energy, (0, 1)))(state, signal)
    got = np.asarray(of_signal).swapaxes(1, 2)
    np.testing.assert_allclose(got, want_signal, rtol=0, atol=1e-6 * np.abs(want_signal).max())
    by_name = convert.to_torch(nnx.merge(graph, grads), norms=False)
    wanted = {k: v for k, v in summary["param_grad_l2_float64"].items() if "dense" not in k}
    assert set(by_name) == {key for key in wanted if ".bn" not in key and "first_bn" not in key}
    for key, value in by_name.items():
        norm = np.sqrt((value**2).sum())
        np.testing.assert_allclose(norm, wanted[key], rtol=1e-8, atol=1e-9, err_msg=key)


def assert_golden(dtype, length):
    weights = crc_weight.make_weights("medium")
    weights |= {key: crc_weight.make_weight(key, shape) for key, shape in HEAD_SHAPES.items()}
    weights = {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in weights.items()}
    with np.load(pathlib.Path(__file__).parent / "golden" / "ecgfounder.npz") as golden:
        want = golden[f"{dtype}_{length}"]
    with jax.enable_x64(dtype == "float64"):
        encoder, head = ecgfounder.from_torch(weights), ecgfounder.head(weights)
        embedding = embed(encoder, crc_weight.make_signal(length).astype(dtype))
    logits = embedding @ head.weight.T + head.bias
    assert logits.dtype == dtype
    np.testing.assert_allclose(logits, want, rtol=0, atol=TOLERANCE[dtype])


def test_outputs_are_those_of_the_public_code():
    assert_golden("float32", 1000)


@pytest.mark.parametrize(
    ("dtype", "length"), [("float32", 5000), ("float64", 1000), ("float64", 5000)]
)
def test_outputs_of_all_lengths_are_those_of_the_public_code(dtype, length):
    assert_golden(dtype, length)


@pytest.fixture(params=[1, 12])
def normed(request):
    """A tiny network whose batch norms do something, and its weights as arrays."""
    torch = pytest.importorskip("torch")
    torch_reference = pytest.importorskip("torch_reference")
    torch.manual_seed(0)
    network = torch_reference.make("tiny", request.param).double()
    for name, value in network.state_dict().items():
        if "bn" in name and value.is_floating_point():
            positive = name.endswith(("weight", "running_var"))
            value.copy_(torch.rand_like(value) + 0.5 if positive else torch.randn_like(value))
        elif name.endswith("num_batches_tracked"):
            value.fill_(7)
    signal = torch.randn(2, request.param, 333, dtype=torch.float64)
    with torch.no_grad():
        want = torch_reference.embed_with_norms(network, signal).numpy()
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    return with_head(weights), signal.numpy().swapaxes(1, 2), want


def test_batch_norms_fold_exactly(normed):
    weights, signal, want = normed
    with jax.enable_x64(True):
        encoder = ecgfounder.from_torch(weights, batch_norm=True, size="tiny")
        np.testing.assert_allclose(embed(encoder, signal), want, rtol=0, atol=1e-12)
    narrow = {k: v.astype(np.float32) for k, v in weights.items()}
    encoder = ecgfounder.from_torch(narrow, batch_norm=True, size="tiny")
    np.testing.assert_allclose(embed(encoder, signal.astype(np.float32)), want, atol=5e-6)


def test_a_folded_encoder_goes_out_and_in_again_unchanged(normed):
    weights, signal, _ = normed
    encoder = ecgfounder.from_torch(weights, batch_norm=True, size="tiny")
    arrays = convert.to_torch(encoder, norms=False)
    assert [key for key in arrays if "bn" in key] == [
        f"stage_list.1.block_list.{block}.bn1.{name}"
        for block in (0, 1)
        for name in ("scale", "shift")
    ]
    back = convert.from_torch(arrays, "tiny")
    same = jax.tree.map(np.array_equal, nnx.state(encoder), nnx.state(back))
    assert jax.tree.structure(nnx.state(encoder)) == jax.tree.structure(nnx.state(back))
    assert all(jax.tree.leaves(same))
    signal = signal.astype(np.float32)
    np.testing.assert_array_equal(embed(encoder, signal), embed(back, signal))


def test_a_folded_encoder_is_not_written_for_a_network_that_would_ignore_its_norms(normed):
    encoder = ecgfounder.from_torch(normed[0], batch_norm=True, size="tiny")
    with refuses(problem="input_affine"):
        convert.to_torch(encoder)


def test_an_incomplete_input_affine_is_refused_by_name(normed):
    encoder = ecgfounder.from_torch(normed[0], batch_norm=True, size="tiny")
    arrays = convert.to_torch(encoder, norms=False)
    del arrays["stage_list.1.block_list.1.bn1.shift"]
    with refuses("missing", "stage_list.1.block_list.1.bn1.shift", error=ValueError):
        convert.from_torch(arrays, "tiny")


def test_norms_that_training_used_are_ignored_with_a_warning(normed):
    with pytest.warns(UserWarning, match=r"10 batch norms .*batch_norm=True"):
        encoder = ecgfounder.from_torch(normed[0], size="tiny")
    assert not encoder.input_affine
    decided = ecgfounder.from_torch(normed[0], batch_norm=False, size="tiny")
    same = jax.tree.map(np.array_equal, nnx.state(encoder), nnx.state(decided))
    assert all(jax.tree.leaves(same))


def test_encoders_of_ours_have_no_input_affine():
    encoder = create_encoder("tiny", rngs=nnx.Rngs(0))
    assert not [path for path in nnx.to_flat_state(nnx.state(encoder)) if "affine" in path[0]]
    assert encoder.stage_list[1].blocks[0].affine is None


@pytest.fixture
def plain():
    return with_head(convert.to_torch(create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(0))))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module._orig_mod."])
def test_prefixes_and_nesting_are_read(plain, prefix):
    prefixed = {prefix + key: value for key, value in plain.items()}
    for content in (prefixed, {"epoch": 3, "optimizer": {"state": {}}, "state_dict": prefixed}):
        encoder = ecgfounder.from_torch(content, size="tiny")
        head = ecgfounder.head(content, size="tiny")
        assert encoder.in_channels == 12
        arrays = convert.to_torch(encoder, norms=False)
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, plain[key])
        np.testing.assert_array_equal(head.weight, plain["dense.weight"])
        np.testing.assert_array_equal(head.bias, plain["dense.bias"])
        assert ecgfounder.recognises(content)
    assert not ecgfounder.recognises(convert.to_torch(encoder))


def refused(weights, *culprits, problem="wrong_weights", **options):
    with refuses(*culprits, problem=problem):
        ecgfounder.from_torch(weights, size="tiny", **options)


def test_weights_that_are_not_ecgfounders_are_refused_by_name(plain):
    without_bias = {k: v for k, v in plain.items() if k != "dense.bias"}
    refused(without_bias, "dense.bias", problem="no_classifier")
    narrow = {**plain, "dense.weight": np.zeros((3, 15))}
    refused(narrow, "dense.weight", "[3, 15]", problem="wrong_classifier")
    refused({**plain, "other.weight": np.zeros(3)}, "unknown", "other.weight")
    for key in ("first_conv.conv.weight", "first_conv.conv.bias"):
        refused({k: v for k, v in plain.items() if k != key}, "missing", key)
        refused({**plain, key: np.full_like(plain[key], np.nan)}, key)
    stem = "first_conv.conv.weight"  # no network of two leads is published
    refused({**plain, stem: plain[stem][:, :2]}, "misshapen", stem, "[8, 2, 16]")
    refused({"a": plain, "b": plain}, "several", problem="ambiguous_weights")


def test_ignored_norms_may_be_absent_but_not_misshapen(plain):
    norms = [key for key in plain if "bn" in key]
    bare = {key: value for key, value in plain.items() if key not in norms}
    assert len(norms) == 50
    ecgfounder.from_torch(bare, size="tiny")
    for key in norms:
        refused({**plain, key: np.zeros((*plain[key].shape, 2), plain[key].dtype)}, key)


def test_norms_that_cannot_be_folded_are_refused_by_name(plain):
    key = "stage_list.1.block_list.0.bn2.running_var"
    without = {k: v for k, v in plain.items() if k != key}
    refused(without, key, problem="missing_batch_norm", batch_norm=True)
    negative = {**plain, key: -np.ones_like(plain[key])}
    refused(negative, key, problem="negative_variance", batch_norm=True)
