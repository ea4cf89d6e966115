"""Says in a sentence whether the loss of a run fell."""

from collections.abc import Sequence

import numpy as np

_MOST_VALUES = 10
"""Number of values at each end of a run whose means are compared."""
_STANDARD_ERRORS = 2.0
"""Smallest difference of the two means, in standard errors, that counts as a fall."""


def on_loss(losses: Sequence[float]) -> str:
    """Returns a sentence on the first and the last values of a loss; empty without any.

    The loss fell if the mean of the last ten values is below that of the first ten by more than two
    standard errors of their difference. With fewer than twenty values, halves are compared.

    Args:
        losses: logged values of the loss, in the order of the steps.
    """
    values = np.asarray(losses, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    if len(values) < 4:
        return f"from {values[0]:.3f} to {values[-1]:.3f}; too few values to say whether it fell"
    size = min(_MOST_VALUES, len(values) // 2)
    first, last = values[:size], values[-size:]
    means = f"from {first.mean():.3f} to {last.mean():.3f}, means of the first and last {size}"
    means += " values"
    error = np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / size)
    fall = first.mean() - last.mean()
    if fall > _STANDARD_ERRORS * error:
        return means
    if fall < -_STANDARD_ERRORS * error:
        return f"{means}: the loss ROSE"
    return f"{means}: the loss did NOT fall by more than its scatter"
