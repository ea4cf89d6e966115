"""Integrated gradients add up to the change of the answer."""

import dataclasses

import explained
import numpy as np
import pytest

from clef_jax.embedding import batch
from clef_jax.embedding.with_classical import WithClassical
from clef_jax.errors import UserError
from clef_jax.explaining import gradients
from clef_jax.explaining.target import Target

pytestmark = pytest.mark.usefixtures("quick_compiler")


@pytest.fixture(scope="module")
def model():
    return explained.model()


@pytest.fixture(scope="module")
def window_mv(model):
    windower = batch.make_windower(model.embedder, explained.RATE)
    signal = explained.signal(10)[1:]
    signal[0, 500:700] = np.nan
    return batch.cut(signal, windower, np.array([0]), unit_known=True).signal_mv[0]


def test_shares_add_up_to_the_change_of_the_score(model, window_mv):
    target = Target(explained.HEAD, 1)
    found = gradients.shares(model.embedder, "stage_2", target, window_mv, 40)
    features = batch.encode(model.embedder, np.stack([window_mv, 0 * window_mv]), 100.0, (2,))
    score, flat_score = target.score(features[:, model.part("stage_2")])
    assert found.contributions.shape == (1, 40)
    assert (found.score, found.flat_score) == pytest.approx((score, flat_score), abs=1e-5)
    assert found.contributions.sum() == pytest.approx(score - flat_score, rel=0.01)
    assert found.error < gradients.TOLERANCE
    twice = dataclasses.replace(explained.HEAD, weight=2 * explained.HEAD.weight)
    doubled = gradients.shares(model.embedder, "stage_2", Target(twice, 1), window_mv, 40)
    np.testing.assert_allclose(doubled.contributions, 2 * found.contributions, rtol=1e-3, atol=1e-7)


def test_more_points_are_used_until_the_shares_add_up():
    tried = []

    def step(signal):
        tried.append(len(signal))
        wave = 0.1 * np.sin(40 * signal) + signal  # too rugged for few points
        return wave.sum(axis=(1, 2)), 4 * np.cos(40 * signal) + 1

    signal = np.ones((1, 10))
    few = gradients.integrate(step, signal, 5, 2)
    many = gradients.integrate(step, signal, 5, 128)
    assert many.error < 1e-6 < gradients.TOLERANCE < few.error
    np.testing.assert_allclose(many.contributions, np.full((1, 5), many.change / 5), rtol=1e-5)
    assert set(tried) == {8}


def test_heads_without_derivatives_are_refused(model):
    assert gradients.check(model.embedder) is model.embedder
    for encoder in (WithClassical(model.embedder, "stage_2"), explained.Listening()):
        with pytest.raises(UserError) as raised:
            gradients.check(encoder)
        assert raised.value.problem == "no_gradients"
