"""Occlusion: how much the answer changes when a part of the signal is missing.

The encoder treats an occluded part as it treats a gap of a recording; most draw a line across it.

Shapes: C leads, S samples of a window, n segments, M occluded copies of a window, D features.
"""

import numpy as np

from clef_jax.embedding import batch
from clef_jax.embedding.encoder import Encoder
from clef_jax.explaining import window as window_lib
from clef_jax.explaining.target import Target

PATCH_SEGMENTS = 2
"""Number of segments that are occluded at a time; neighbouring patches overlap by one."""


def patches(num_segments: int) -> np.ndarray:
    """Returns the segments that each patch occludes, bool [n - 1, n]."""
    first = np.arange(num_segments - PATCH_SEGMENTS + 1)[:, None]
    segment = np.arange(num_segments)[None]
    return (segment >= first) & (segment < first + PATCH_SEGMENTS)


def occlude(window_mv: np.ndarray, occluded: np.ndarray) -> np.ndarray:
    """Returns copies of a window [C, S] with missing segments, float32 [M, C, S].

    Args:
        window_mv: the window in mV.
        occluded: segments that are missing in each copy, bool [M, n].
    """
    num_samples = window_mv.shape[-1]
    lengths = np.diff(window_lib.edges(occluded.shape[1], num_samples))
    missing = np.repeat(occluded, lengths, axis=1)
    return np.where(missing[:, None], np.float32(np.nan), window_mv[None]).astype(np.float32)


def features(
    encoder: Encoder, part: slice, window_mv: np.ndarray, rate_hz: float, occluded: np.ndarray
) -> np.ndarray:
    """Returns the features of occluded copies of a window, float32 [M, D].

    Args:
        encoder: encoder that gives the features of the head.
        part: slice of these features.
        window_mv: the window in mV, [C, S].
        rate_hz: rate of the window.
        occluded: segments that are missing in each copy, bool [M, n].
    """
    signals = occlude(window_mv, occluded)
    return batch.encode(encoder, signals, rate_hz, window_lib.BATCH_SIZES)[:, part]


def contributions(target: Target, complete: np.ndarray, occluded: np.ndarray) -> np.ndarray:
    """Returns how far each segment raises the answer, float64 [n]; negative where it lowers it.

    It is the fall of the answer when a patch is missing, averaged over the patches that hold the
    segment.

    Args:
        target: the explained output.
        complete: features of the window, [D].
        occluded: features of the window without each patch, as of `patches`, [n - 1, D].
    """
    fall = target.score(complete[None])[0] - target.score(occluded)
    holds = patches(len(fall) + PATCH_SEGMENTS - 1).astype(float)
    return (fall[:, None] * holds).sum(axis=0) / holds.sum(axis=0)
