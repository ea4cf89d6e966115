"""Finds the row of a lead in a signal, by the rows' names or among twelve rows without names.

Shapes: T time (samples).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax import leads
from clef_jax.errors import UserError, counted

_ORDERS = (
    leads.STANDARD_12,
    (*leads.STANDARD_12[:4], "aVF", "aVL", *leads.STANDARD_12[6:]),
)
"""Orders in which twelve leads are stored; MIMIC-IV-ECG stores aVF before aVL."""
_MIN_DIFFERENCE = 0.5
"""Smallest accepted difference between the correlations of the right and of the wrong order. The
differences between successive samples are correlated: ECG machines filter each lead separately, so
baselines drift apart, but the steps of beats remain."""


def find(lead: str, names: Sequence[str]) -> int:
    """Returns the position of a lead in a list of names in any spelling.

    A modified lead such as `MLII` is accepted if the lead itself is not listed.

    Raises:
        UserError: the lead is missing or duplicate.
    """
    same = [n for n, name in enumerate(names) if leads.normalize(name) == leads.normalize(lead)]
    positions = same or [n for n, name in enumerate(names) if leads.same_lead(lead, name)]
    if len(positions) == 1:
        return positions[0]
    known = ", ".join(name or "(without a name)" for name in names)
    if positions:
        raise UserError(
            f"{counted(len(positions), 'lead')} are named {lead!r} in {known}.",
            problem="duplicate_lead",
        )
    raise UserError(f"Lead {lead!r} is missing; the leads are {known}.", problem="missing_lead")


def find_unnamed(lead: str, signal: np.ndarray) -> int:
    """Returns a lead's row among twelve unnamed rows [..., 12, T].

    The usual orders differ in aVL and aVF only. These two are distinguished by the signal, because
    the limb leads are combinations of I and II (Einthoven, Goldberger): III = II - I,
    aVL = I - II / 2, aVF = II - I / 2.

    Raises:
        UserError: the signal has not twelve rows, the lead is unknown, or the signal does not
            distinguish aVL and aVF.
    """
    if signal.ndim < 2 or signal.shape[-2] != len(leads.STANDARD_12):
        raise UserError(
            f"Lead {lead} cannot be found in a signal of shape {list(signal.shape)} without names; "
            "give lead_names.",
            problem="unnamed_rows",
        )
    positions = [find(lead, order) for order in _ORDERS]
    if len(set(positions)) == 1:
        return positions[0]
    rows = np.moveaxis(signal, -2, 0).reshape(len(leads.STANDARD_12), -1).astype(float)
    steps = np.diff(rows[:, np.isfinite(rows).all(axis=0)], axis=1)
    correlations = [_lowest_correlation(dict(zip(order, steps, strict=True))) for order in _ORDERS]
    if max(correlations) - min(correlations) < _MIN_DIFFERENCE:
        raise UserError(
            f"The row of lead {lead} cannot be inferred: in neither usual order are aVL and aVF "
            "the combinations of leads I and II that they should be. Give lead_names.",
            problem="ambiguous_order",
        )
    return positions[int(np.argmax(correlations))]


def _lowest_correlation(row: Mapping[str, np.ndarray]) -> float:
    """Returns the lower correlation of aVL and aVF with their values computed from I and II."""
    expected = {"aVL": row["I"] - row["II"] / 2, "aVF": row["II"] - row["I"] / 2}
    lowest = 1.0
    for name, value in expected.items():
        scale = np.sqrt(np.square(row[name]).sum() * np.square(value).sum())
        lowest = min(lowest, float((row[name] * value).sum() / scale) if scale else 0.0)
    return lowest
