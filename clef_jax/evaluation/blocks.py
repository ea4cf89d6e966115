"""Scaling of features that come from several models, so that none outweighs the others.

Shapes: D features.
"""

from collections.abc import Sequence

import numpy as np


def factors(varies: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Returns the factor of each standardised feature, [D], with the same total variance per model.

    The total over all models stays the number of varying features, so a penalty on the weights
    means the same as for one model.

    Args:
        varies: Whether each feature varies in the training data, bool [D].
        widths: Number of features of each model, which add up to D; empty for one model.
    """
    result = np.ones(len(varies))
    if len(widths) < 2:
        return result
    ends = np.cumsum(widths)
    counts = [int(part.sum()) for part in np.split(varies, ends[:-1])]
    share = sum(counts) / max(1, sum(count > 0 for count in counts))
    for start, end, count in zip(ends - np.asarray(widths), ends, counts, strict=True):
        result[start:end] = np.sqrt(share / count) if count else 1.0
    return result
