"""Tests that ST-MEM's network gives the outputs of the public code."""

import pathlib

import jax
import numpy as np
import published_weights as published
import pytest
from culprits import refuses

from clef_jax.baselines import st_mem

SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_goldens = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no goldens here")


@pytest.fixture(scope="module")
def weights():
    """Weights for one lead and 66 patches, as the reference builds the network."""
    return published.make(st_mem._shapes(num_leads=1, num_positions=68))


def test_features_are_those_of_the_public_code(weights):
    with np.load(pathlib.Path(__file__).parent / "golden" / "published_networks.npz") as stored:
        want = stored["st_mem_2250"]
    network = st_mem.from_torch(weights)
    got = published.run(network, lambda net, x: net(x), published.signal(2250, 1))
    published.assert_features(got, want, 5e-6)


@needs_goldens
@pytest.mark.parametrize(
    ("name", "file"), [("stmem_1lead", "stmem_1lead_4cls"), ("stmem_12lead", "stmem_12lead_4cls")]
)
def test_stages_and_gradients_are_those_of_the_public_code(name, file):
    weights = published.make(published.manifest(SHARED, file), "float64")
    want, summary = published.golden(SHARED, name)
    with jax.enable_x64(True):
        network = st_mem.from_torch(weights)
        for length in summary["lens"]:
            signal = published.signal(length, summary["channels"], "float64")
            stages = published.run(network, lambda net, x: [v for _, v in net.stages(x)], signal)
            *named, features = stages
            names = [str(number) for number in range(len(named))]
            expected = summary["stages_float64"][str(length)]
            published.assert_stages(list(zip(names, named, strict=True)), expected)
            published.assert_features(features, want[f"features_float64_{length}"], 1e-9)
            logits = published.run(network, lambda net, x: net.logits(x), features)
            published.assert_features(logits, want[f"logits_float64_{length}"], 1e-9)
        if summary["channels"] == 1:  # those of 12 leads take ten times as long
            of_signal, of_weights = want["grad_x_float64_2250"], summary["param_grad_l2_float64"]
            published.assert_gradients(network, signal, of_signal, of_weights)


def test_wrong_weights_are_refused_by_name(weights):
    published.check_refusals(st_mem.from_torch, weights, "block3.ff.fn.net.0.weight", (3072, 700))


def test_the_auto_encoder_s_file_gives_its_encoder(weights):
    file = {f"encoder.{key}": value for key, value in weights.items()}
    file |= {k: v for k, v in weights.items() if k.startswith("to_patch_embedding.")}
    file |= {"mask_embedding": np.zeros((1, 1, 256)), "decoder_blocks.0.norm.weight": np.ones(256)}
    network = st_mem.from_torch({"model": file})
    np.testing.assert_array_equal(network["norm.bias"], weights["norm.bias"])
    with refuses("other.weight", problem="wrong_weights"):
        st_mem.from_torch({"model": {**file, "other.weight": np.zeros(2)}})
    file["to_patch_embedding.2.bias"] = file["to_patch_embedding.2.bias"] + 1
    with refuses("to_patch_embedding.2.bias", problem="wrong_weights"):
        st_mem.from_torch({"model": file})


def test_longer_signals_continue_the_positions_by_their_formula(weights):
    table = np.zeros((1, 32, 768), np.float32)
    table[0, 1:-1] = st_mem.positions_of(np.arange(30))
    short = st_mem.from_torch({**weights, "pos_embedding": table})
    table = np.zeros((1, 42, 768), np.float32)
    table[0, 1:-1] = st_mem.positions_of(np.arange(40))
    long = st_mem.from_torch({**weights, "pos_embedding": table})
    signal = published.signal(3000, 1)
    got, want = (published.run(net, lambda net, x: net(x), signal) for net in (short, long))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_signals_of_another_length_or_number_of_leads_are_refused(weights):
    network = st_mem.from_torch(weights)
    with refuses("75", "2260", problem="wrong_length"):
        network(published.signal(2260, 1))
    with refuses("12", problem="wrong_lead_count"):
        network(published.signal(2250, 12))


def test_layers_have_features_of_their_own(weights):
    network = st_mem.from_torch(weights)
    layers = published.run(network, lambda net, x: net.layers(x), published.signal(2250, 1))
    assert set(layers) == {*(f"block{number}" for number in range(12)), "features"}
    assert {value.shape for value in layers.values()} == {(2, 768)}
