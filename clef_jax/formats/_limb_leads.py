"""Computes the limb leads that a recording does not store.

Einthoven's and Goldberger's equations give four of six limb leads from any two of I, II and III.
"""

import numpy as np

from clef_jax import leads
from clef_jax.formats._recording import Note

_BIPOLAR = leads.STANDARD_12[:3]
_LIMB = leads.STANDARD_12[:6]


def complete(
    names: tuple[str, ...], rows: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray, tuple[Note, ...]]:
    """Returns names, samples and a note with the missing limb leads added.

    The limb leads then come first, in the usual order. Leads that the recording has itself are not
    replaced. Without two of I, II and III, nothing is computed.

    Args:
        names: names of the leads, as `leads.normalize` spells them.
        rows: samples in any unit that all leads share, [L, T].
    """
    own = {name: row for name, row in zip(names, rows, strict=True) if names.count(name) == 1}
    bases = [name for name in _BIPOLAR if name in own]
    missing = [name for name in _LIMB if name not in names]
    if len(bases) < 2 or not missing:
        return names, rows, ()
    one, two = _first_two(own)
    computed = {
        "I": one,
        "II": two,
        "III": two - one,
        "aVR": -(one + two) / 2,
        "aVL": one - two / 2,
        "aVF": two - one / 2,
    }
    # A limb lead that the file has twice stays with the other leads.
    limb_names = tuple(name for name in _LIMB if names.count(name) < 2)
    limb = [own.get(name, computed[name]) for name in limb_names]
    others = [index for index, name in enumerate(names) if name not in limb_names]
    listed = ", ".join(missing)
    subject = f"The leads {listed} were" if len(missing) > 1 else f"The lead {listed} was"
    detail = f"{subject} computed from {bases[0]} and {bases[1]}."
    return (
        (*limb_names, *(names[index] for index in others)),
        np.stack([*limb, *rows[others]]),
        (Note("computed_lead", detail),),
    )


def _first_two(own: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the samples of I and II; the third bipolar lead may replace one of them."""
    if "I" not in own:
        return own["II"] - own["III"], own["II"]
    return own["I"], own["II"] if "II" in own else own["I"] + own["III"]
