"""Calibration: whether 30 of 100 patients with a predicted probability of 30 % are positive.

Shapes: N recordings, B bins.
"""

import dataclasses

import numpy as np

NUM_BINS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of about as many recordings each, in the order of their scores."""

    mean_score: np.ndarray
    """[B]."""
    observed: np.ndarray
    """[B], fraction of positives."""
    count: np.ndarray
    """int [B]."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean distance of score and fraction (Naeini et al. 2015)."""
        distance = np.abs(self.mean_score - self.observed)
        return float((self.count * distance).sum() / self.count.sum())


def reliability(target: np.ndarray, score: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Returns the reliability curve of score [N] for target [N]; equal scores share a bin."""
    order = np.argsort(score, kind="stable")
    ordered, outcome = np.asarray(score, float)[order], np.asarray(target, float)[order]
    wanted = np.arange(1, num_bins) * len(ordered) // num_bins
    # A bin ends where the score changes.
    edges = np.unique(np.searchsorted(ordered, ordered[wanted], side="left"))
    groups = [group for group in np.split(np.arange(len(ordered)), edges) if len(group)]
    return Reliability(
        np.array([ordered[group].mean() for group in groups]),
        np.array([outcome[group].mean() for group in groups]),
        np.array([len(group) for group in groups]),
    )
