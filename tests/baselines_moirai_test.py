"""Tests that Moirai's network gives the outputs of the public code."""

import pathlib

import jax
import numpy as np
import published_weights as published
import pytest
from culprits import refuses

from clef_jax.baselines import moirai

SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_goldens = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no goldens here")
REFERENCE_TOLERANCE = 1e-5  # of float32: the reference multiplies the signal by 316


@pytest.fixture(scope="module")
def weights():
    return published.make(moirai._shapes())


def stages(network, signal, make_tokens, patch_size):
    """Names and values of the stages for tokens of a kind."""

    def values(net, signal):
        tokens = make_tokens(signal[..., 0], patch_size)
        return [value for _, value in net.token_stages(tokens)]

    return published.run(network, values, signal)


def test_features_are_those_of_the_public_code(weights):
    with np.load(pathlib.Path(__file__).parent / "golden" / "published_networks.npz") as stored:
        want = stored["moirai_1000_32"]
    network = moirai.from_torch(weights, patch_size=32)
    got = published.run(network, lambda net, x: net(x), published.signal(1000, 1))
    published.assert_features(got, want, 5e-6)


@needs_goldens
def test_stages_and_gradients_are_those_of_the_public_code():
    shapes = published.manifest(SHARED, "moirai_base")
    want, summary = published.golden(SHARED, "moirai_base")
    for dtype in ("float64", "float32"):
        weights = published.make(shapes, dtype)
        with jax.enable_x64(dtype == "float64"):
            taken = moirai.from_torch(weights).weights
            for name, of_run in summary["runs"].items():
                network = moirai.Moirai({k: v[...] for k, v in taken.items()}, of_run["patch"])
                is_plain = of_run["case"] == "plain"
                make = moirai.plain_tokens if is_plain else moirai.reference_tokens
                signal = published.signal(of_run["L"], 1, dtype)
                *named, features = stages(network, signal, make, of_run["patch"])
                exact = 5e-6 if is_plain else REFERENCE_TOLERANCE
                tolerance = 1e-9 if dtype == "float64" else exact
                published.assert_features(features, want[f"features_{dtype}_{name}"], tolerance)
                if dtype == "float64":
                    names = [str(number) for number in range(len(named))]
                    pairs = list(zip(names, named, strict=True))
                    published.assert_stages(pairs, of_run["stages_float64"])
            if dtype == "float64":
                published.assert_gradients(
                    moirai.from_torch(weights, patch_size=32),
                    published.signal(1000, 1, dtype),
                    want["grad_x_float64_plain_L1000_p32"][:, None],
                    summary["param_grad_l2_float64"],
                )


def test_wrong_weights_are_refused_by_name(weights):
    key = "encoder.layers.7.self_attn.q_norm.weight"
    published.check_refusals(moirai.from_torch, weights, key, (60,))


def test_layers_that_predict_are_accepted_in_their_shape(weights):
    key = "param_proj.proj.components.0.df.bias"
    network = moirai.from_torch({**weights, key: np.zeros((5, 128), np.float32)})
    assert key not in network
    with refuses(key, problem="wrong_weights"):
        moirai.from_torch({**weights, key: np.zeros((5, 120), np.float32)})


def test_a_patch_size_without_weights_is_refused(weights):
    with refuses("100", problem="wrong_patch_size"):
        moirai.from_torch(weights, patch_size=100)


def test_a_signal_of_too_many_tokens_is_refused(weights):
    with refuses("512", "625", problem="wrong_length"):
        moirai.from_torch(weights, patch_size=8)(published.signal(5000, 1))


def test_two_leads_are_refused(weights):
    with refuses("2", problem="wrong_lead_count"):
        moirai.from_torch(weights)(published.signal(1000, 2))
