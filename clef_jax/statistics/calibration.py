"""Calibration: compares predicted probabilities with the observed fractions of positives.

Shapes: N recordings, B bins.
"""

import dataclasses

import numpy as np

NUM_BINS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Reliability curve: bins of about equally many recordings, in ascending order of score."""

    mean_score: np.ndarray
    """Mean score of each bin, [B]."""
    observed: np.ndarray
    """Fraction of positives in each bin, [B]."""
    count: np.ndarray
    """Number of recordings in each bin, int [B]."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean distance between a bin's mean score and its
        fraction of positives, weighted by the number of recordings (Naeini et al. 2015)."""
        distance = np.abs(self.mean_score - self.observed)
        return float((self.count * distance).sum() / self.count.sum())


def reliability(target: np.ndarray, score: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Returns the reliability curve of predictions.

    Args:
        target: Outcomes, 0 or 1, [N].
        score: Predicted probabilities, [N]; recordings with equal scores share a bin.
        num_bins: Largest number of bins; ties can leave fewer.
    """
    order = np.argsort(score, kind="stable")
    ordered, outcome = np.asarray(score, float)[order], np.asarray(target, float)[order]
    equal_parts = np.arange(1, num_bins) * len(ordered) // num_bins
    # Move each edge to the first recording with the same score.
    edges = np.unique(np.searchsorted(ordered, ordered[equal_parts], side="left"))
    groups = [group for group in np.split(np.arange(len(ordered)), edges) if len(group)]
    return Reliability(
        np.array([ordered[group].mean() for group in groups]),
        np.array([outcome[group].mean() for group in groups]),
        np.array([len(group) for group in groups]),
    )
