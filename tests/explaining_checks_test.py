"""The checks tell a picture that follows the model from one that does not."""

import dataclasses

import explained
import jax
import numpy as np
import pytest

from clef_jax.explaining import checks as checks_lib
from clef_jax.explaining.checks import Checks, Removal, Similarity
from clef_jax.explaining.target import Target

RECORDED = np.array([True] * 30 + [False] * 10)
PICTURE = np.concatenate([np.linspace(-1, 2, 30), np.full(10, 99.0)])[None]


def test_what_raises_and_what_lowers_is_marked_where_it_was_recorded():
    raising = checks_lib.mark(PICTURE, RECORDED, raises=True)
    lowering = checks_lib.mark(PICTURE, RECORDED, raises=False)
    assert np.flatnonzero(raising).tolist() == [27, 28, 29]
    assert np.flatnonzero(lowering).tolist() == [0, 1, 2]
    assert not checks_lib.mark(-np.abs(PICTURE), RECORDED, raises=True).any()


def test_random_placements_have_parts_of_the_same_lengths():
    marked = np.zeros(40, bool)
    marked[[1, 2, 3, 10, 12]] = True
    recorded = np.ones(40, bool)
    recorded[20:25] = False
    placed = checks_lib.placements(marked, recorded, seed=0)
    assert len(placed) == checks_lib.NUM_PLACEMENTS
    assert (placed.sum(axis=1) == 5).all()
    assert not placed[:, 20:25].any()
    assert len({row.tobytes() for row in placed}) > checks_lib.NUM_PLACEMENTS // 2
    np.testing.assert_array_equal(placed, checks_lib.placements(marked, recorded, seed=0))


def test_rank_correlation_ignores_what_was_not_recorded():
    other = PICTURE.copy()
    other[0, 30:] = -5
    same = checks_lib.correlate(PICTURE, [other, -other, np.ones_like(other)], RECORDED)
    assert same.signed == pytest.approx((1, -1, 0))
    assert checks_lib.correlate(PICTURE, [other, -other], RECORDED).is_same
    assert same.marks_same_places
    noise = np.random.default_rng(0).normal(size=(3, 1, 40))
    assert not checks_lib.correlate(PICTURE, list(noise), RECORDED).is_same


@pytest.mark.parametrize("raises", [True, False])
def test_marked_parts_matter_only_if_they_change_the_answer_more(raises):
    sign = -1 if raises else 1

    def change(factor):
        return lambda masks: sign * np.array([factor, *np.linspace(0, 1, len(masks) - 1)])

    picture = PICTURE if raises else -PICTURE
    for factor, matters in ((2.0, True), (0.5, False), (-3.0, False)):
        removals = checks_lib.remove(np.abs(picture) * -sign, RECORDED, change(factor), seed=0)
        assert [removal.raises for removal in removals] == [raises]
        assert removals[0].matters == matters


def test_doubts_name_what_speaks_against_a_picture():
    other = Similarity((0.1, -0.2), (0.3, 0.4))
    removal = Removal(raises=True, marked=RECORDED, change=-1.0, random_changes=np.zeros(20))
    good = Checks(head=other, encoder=other, removals=(removal,), error=0.001)
    assert good.doubts == ()
    same = Similarity((0.9, -0.8), (0.3, 0.4))
    bad = Checks(
        head=same, encoder=same, removals=(dataclasses.replace(removal, change=1.0),), error=0.5
    )
    assert bad.doubts == (
        checks_lib.SAME_HEAD,
        checks_lib.SAME_ENCODER,
        checks_lib.INCOMPLETE,
        checks_lib.RAISING_UNMOVED,
    )
    assert not good.marks_same_places
    assert Checks(head=other, encoder=None, removals=(), error=None).doubts == ()


def test_random_heads_and_encoders_differ_in_their_weights_only():
    model = explained.model()
    heads = checks_lib.random_heads(Target(explained.HEAD, 1), seed=0)
    assert len({head.head.weight.tobytes() for head in heads}) == checks_lib.NUM_HEADS
    assert all(head.number == 1 and head.head.names == explained.HEAD.names for head in heads)
    encoder = checks_lib.random_encoder(model.embedder, seed=7)
    assert encoder.graph == model.embedder.graph
    assert encoder.recipe == model.recipe
    assert encoder.fingerprint != model.fingerprint
    assert jax.tree.structure(encoder.params) == jax.tree.structure(model.embedder.params)
