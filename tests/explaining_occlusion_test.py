"""Occlusion marks the part of the signal that the answer depends on."""

import dataclasses

import explained
import numpy as np

from clef_jax.explaining import occlusion
from clef_jax.explaining.target import Target

ENCODER = explained.Listening()
HEAD = dataclasses.replace(explained.HEAD, weight=np.array([[1.0], [-3.0]]), calibration=None)


def test_patches_are_two_segments_that_overlap():
    assert occlusion.patches(4).astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


def test_occluded_segments_are_missing():
    window = np.arange(20, dtype=np.float32).reshape(2, 10)
    found = occlusion.occlude(window, np.array([[False, True, False], [False] * 3]))
    assert np.isnan(found[0]).all(axis=0).tolist() == [False] * 3 + [True] * 4 + [False] * 3
    np.testing.assert_array_equal(found[1], window)


def test_only_the_part_that_the_encoder_reads_contributes():
    window = np.ones((1, 1000), np.float32)
    occluded = occlusion.patches(20)
    features = occlusion.features(ENCODER, slice(0, 1), window, 100.0, occluded)
    for number, sign in ((0, 1), (1, -1)):
        target = Target(HEAD, number)
        found = occlusion.contributions(target, np.ones(1), features)
        # 2 to 3 s are the segments 4 and 5; their neighbours share a patch with one of them.
        assert np.flatnonzero(found).tolist() == [3, 4, 5, 6]
        assert (np.sign(found[3:7]) == sign).all()
        assert abs(found[4]) > abs(found[3])
