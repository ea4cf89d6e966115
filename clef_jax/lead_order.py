"""Finds a lead among a signal's rows: by their names, or among the usual twelve without names.

Shapes: T time (samples).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax import leads
from clef_jax.errors import UserError

_ORDERS = (
    leads.STANDARD_12,
    (*leads.STANDARD_12[:4], "aVF", "aVL", *leads.STANDARD_12[6:]),
)
"""In which arrays of twelve leads come; MIMIC-IV-ECG keeps aVF before aVL."""
_LEAST_DIFFERENCE = 0.5
"""Between the correlations in the right order and in the wrong one. It is steps that are compared:
machines filter each lead on its own, so that levels drift apart, but the steps of beats remain."""


def find(lead: str, names: Sequence[str]) -> int:
    """Where a lead is among names in any spelling; a modified lead may stand in for it.

    Raises:
        UserError: it is not there, or there twice.
    """
    spelled = [n for n, name in enumerate(names) if leads.usual(name) == leads.usual(lead)]
    places = spelled or [n for n, name in enumerate(names) if leads.same_lead(lead, name)]
    if len(places) == 1:
        return places[0]
    known = ", ".join(name or "(without a name)" for name in names)
    many = "no lead" if not places else f"{len(places)} leads called"
    problem = "duplicate_lead" if places else "missing_lead"
    raise UserError(f"There is {many} {lead!r} among {known}.", problem=problem)


def find_unnamed(lead: str, signal: np.ndarray) -> int:
    """Where a lead is among twelve rows [..., 12, T] without names.

    Every usual order agrees on ten of them. aVL and aVF are told apart by the signal itself, for
    the limb leads are combinations of I and II (Einthoven, Goldberger): III = II - I,
    aVL = I - II / 2, aVF = II - I / 2.

    Raises:
        UserError: there are not twelve rows, no such lead, or it cannot be told.
    """
    if signal.ndim < 2 or signal.shape[-2] != len(leads.STANDARD_12):
        raise UserError(
            f"A signal of shape {list(signal.shape)} does not say which row is lead {lead}; give "
            "lead_names.",
            problem="unnamed_rows",
        )
    places = [find(lead, order) for order in _ORDERS]
    if len(set(places)) == 1:
        return places[0]
    rows = np.moveaxis(signal, -2, 0).reshape(len(leads.STANDARD_12), -1).astype(float)
    steps = np.diff(rows[:, np.isfinite(rows).all(axis=0)], axis=1)
    fits = [_fit(dict(zip(order, steps, strict=True))) for order in _ORDERS]
    if max(fits) - min(fits) < _LEAST_DIFFERENCE:
        raise UserError(
            f"These twelve leads do not tell which row is {lead}: aVL and aVF are not what leads I "
            "and II make of them. Give lead_names.",
            problem="ambiguous_order",
        )
    return places[int(np.argmax(fits))]


def _fit(row: Mapping[str, np.ndarray]) -> float:
    """The least correlation of aVL and aVF with what I and II make of them."""
    expected = {"aVL": row["I"] - row["II"] / 2, "aVF": row["II"] - row["I"] / 2}
    least = 1.0
    for name, want in expected.items():
        scale = np.sqrt(np.square(row[name]).sum() * np.square(want).sum())
        least = min(least, float((row[name] * want).sum() / scale) if scale else 0.0)
    return least
