"""Tests that MOMENT's network gives the outputs of the public code."""

import pathlib

import jax
import numpy as np
import published_weights as published
import pytest

from clef_jax.baselines import moment

SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_goldens = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="no goldens here")
TOLERANCE = 2e-5  # of float32: the attention is not scaled


@pytest.fixture(scope="module")
def weights():
    return published.make(moment._shapes())


def masked_signal(dtype):
    """Two signals of two channels with missing samples, and the mask of what is observed."""
    drawn = np.random.default_rng(published.SEED + 7).standard_normal((2, 2, 512))
    signal = drawn.astype(np.float32).astype(dtype).swapaxes(1, 2)
    observed = np.ones((2, 512), bool)
    observed[0, :100] = observed[1, :37] = observed[1, 200:209] = False
    signal[0, 300, 1] = signal[1, 500, 0] = np.nan
    return signal, observed


def test_features_are_those_of_the_public_code(weights):
    with np.load(pathlib.Path(__file__).parent / "golden" / "published_networks.npz") as stored:
        want, want_masked = stored["moment_512"], stored["moment_masked"]
    network = moment.from_torch(weights)
    got = published.run(network, lambda net, x: net(x), published.signal(512, 1))
    published.assert_features(got, want, TOLERANCE)
    signal, observed = masked_signal("float32")
    got = published.run(network, lambda net, x, m: net(x, m), signal, observed)
    published.assert_features(got, want_masked, TOLERANCE)
    signal[~observed] = 1e6  # what is masked must not matter
    again = published.run(network, lambda net, x, m: net(x, m), signal, observed)
    np.testing.assert_allclose(again, got, rtol=0, atol=1e-5 * np.abs(got).max())


@needs_goldens
def test_stages_and_gradients_are_those_of_the_public_code():
    weights = published.make(published.manifest(SHARED, "moment_base_embed"), "float64")
    want, summary = published.golden(SHARED, "moment_base")
    with jax.enable_x64(True):
        network = moment.from_torch(weights)
        for length in summary["lens"]:
            signal = published.signal(length, 1, "float64")
            stages = published.run(network, lambda net, x: [v for _, v in net.stages(x)], signal)
            *named, features = stages
            names = [str(number) for number in range(len(named))]
            expected = summary["stages_float64"][str(length)]
            published.assert_stages(list(zip(names, named, strict=True)), expected)
            published.assert_features(features, want[f"features_float64_{length}"], 1e-9)
        published.assert_gradients(
            network, signal, want["grad_x_float64_512"], summary["param_grad_l2_float64"]
        )
        signal, observed = masked_signal("float64")
        got = published.run(network, lambda net, x, m: net(x, m), signal, observed)
        published.assert_features(got, want["features_float64_masked"], 1e-9)


def test_wrong_weights_are_refused_by_name(weights):
    key = "encoder.block.4.layer.0.SelfAttention.k.weight"
    published.check_refusals(moment.from_torch, weights, key, (768, 700))


def test_the_file_s_own_positions_are_kept(weights):
    table = np.zeros((1, 5000, 768), np.float32)
    table[0] = moment.positions_of(np.arange(5000))
    signal = published.signal(512, 1)
    want = published.run(moment.from_torch(weights), lambda net, x: net(x), signal)
    kept = {**weights, "patch_embedding.position_embedding.pe": table}
    got = published.run(moment.from_torch(kept), lambda net, x: net(x), signal)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    other = {**weights, "patch_embedding.position_embedding.pe": table + 1}
    moved = published.run(moment.from_torch(other), lambda net, x: net(x), signal)
    assert np.abs(moved - want).max() > 0.01


def test_weights_that_features_do_not_need_are_accepted_in_their_shape(weights):
    extra = {"encoder.embed_tokens.weight": np.zeros((32_128, 768), np.float32)}
    network = moment.from_torch({**weights, **extra})
    assert "encoder.embed_tokens.weight" not in network
    wrong = {"encoder.embed_tokens.weight": np.zeros((32_000, 768), np.float32)}
    with pytest.raises(ValueError, match=r"embed_tokens\.weight"):
        moment.from_torch({**weights, **wrong})


def test_relative_positions_are_those_of_t5():
    got = moment._relative_positions(128)
    # The logarithmic rule of T5, in float64, for both directions.
    distance = np.arange(128)[None, :] - np.arange(128)[:, None]
    size = np.maximum(np.abs(distance), 1)
    far = 8 + np.floor(np.log(size / 8) / np.log(128 / 8) * 8 + 1e-9).astype(int)
    want = np.where(size < 8, np.abs(distance), np.minimum(far, 15)) + 16 * (distance > 0)
    np.testing.assert_array_equal(got, want)
