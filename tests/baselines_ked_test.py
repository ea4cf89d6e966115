"""Tests that KED's network gives the outputs of the public code."""

import pathlib

import jax
import numpy as np
import published_weights as published
import pytest
from culprits import refuses

from clef_jax.baselines import ked

SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_goldens = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no goldens here")


def in_force(weights):
    """Weights in which both names of a convolution have the tensor that is in force."""
    twins = {k.replace(".convpath.0.", ".convs."): v for k, v in weights.items() if "path.0" in k}
    return {**weights, **{k: v for k, v in twins.items() if ".convs." in k}}


@pytest.fixture(scope="module")
def weights():
    shapes = ked._shapes(num_leads=1)
    twins = {ked._twin(key): shape for key, shape in shapes.items()}
    return in_force(published.make(shapes | twins))


@pytest.fixture(scope="module")
def network(weights):
    return ked.from_torch(weights)


def test_features_are_those_of_the_public_code(network):
    with np.load(pathlib.Path(__file__).parent / "golden" / "published_networks.npz") as stored:
        want = stored["ked_1000"]
    got = published.run(network, lambda net, x: net(x), published.signal(1000, 1))
    published.assert_features(got, want, 5e-6)


@needs_goldens
@pytest.mark.slow
def test_stages_and_gradients_are_those_of_the_public_code():
    weights = in_force(published.make(published.manifest(SHARED, "ked_1lead"), "float64"))
    want, summary = published.golden(SHARED, "ked_1lead")
    with jax.enable_x64(True):
        network = ked.from_torch(weights)
        signal = published.signal(1000, 1, "float64")
        stages = published.run(network, lambda net, x: [v for _, v in net.stages(x)], signal)
        *named, features = stages
        names = [str(number) for number in range(len(named))]
        pairs = list(zip(names, named, strict=True))
        published.assert_stages(pairs, summary["stages_float64"]["1000"], channels_last=names)
        published.assert_features(features, want["features_float64_1000"], 1e-9)
        published.assert_gradients(
            network,
            signal,
            want["grad_x_float64_1000"],
            summary["param_grad_l2_float64"],
            rename=lambda key: key.replace(".convpath.0.", ".convs."),
        )
        features, statistics = published.run(network, lambda net, x: net.train(x), signal)
        published.assert_features(features, want["features_train_mode_float64_1000"], 1e-9)
        for key, values in summary["train_mode"].items():
            if key in statistics:
                got = np.ravel(statistics[key])[:8]
                np.testing.assert_allclose(got, values, rtol=1e-9, atol=1e-12, err_msg=key)


@needs_goldens
@pytest.mark.slow
def test_features_of_12_leads_are_those_of_the_public_code():
    weights = in_force(published.make(published.manifest(SHARED, "ked_12lead")))
    want, _ = published.golden(SHARED, "ked_12lead")
    network = ked.from_torch(weights)
    got = published.run(network, lambda net, x: net(x), published.signal(1000, 12))
    published.assert_features(got, want["features_float32_1000"], 5e-6)


def test_wrong_weights_are_refused_by_name(weights):
    published.check_refusals(ked.from_torch, weights, "5.0.idpath.1.0.weight", (512, 255, 1))


def test_the_two_copies_of_a_convolution_must_agree(weights):
    key = "6.3.convpath.0.1.0.weight"
    with refuses(key, "6.3.convs.1.0.weight", problem="wrong_weights"):
        ked.from_torch({**weights, key: weights[key] + 1})
    with refuses(key, "missing", problem="wrong_weights"):
        ked.from_torch({k: v for k, v in weights.items() if k != key})


@pytest.mark.parametrize("absent", [".convs.", ".convpath."])
def test_either_copy_may_be_absent(weights, network, absent):
    rest = {k: v for k, v in weights.items() if absent not in k}
    again = ked.from_torch(rest)
    assert set(again.weights) == set(network.weights)
    for key in network.weights:
        np.testing.assert_array_equal(again[key], network[key])


def test_the_published_file_gives_its_ecg_model(weights, network):
    file = {"model": weights, "ecg_model": weights, "text_encoder": {"x": np.zeros(3)}}
    np.testing.assert_array_equal(ked.from_torch(file)["2.1.bias"], network["2.1.bias"])


def test_the_network_of_one_lead_is_that_of_zeros_elsewhere():
    weights = published.make(ked._shapes(num_leads=12))
    network = ked.from_torch(weights)
    alone = published.signal(1000, 1)
    signal = np.zeros((2, 1000, 12), np.float32)
    signal[..., 4:5] = alone
    want = published.run(network, lambda net, x: net(x), signal)
    got = published.run(ked.one_lead(network, 4), lambda net, x: net(x), alone)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    with refuses("12", "1", problem="wrong_lead_count"):
        network(alone)
