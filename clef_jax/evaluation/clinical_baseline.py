"""What can be predicted without any encoder, from what a form holds about the patient.

A pre-trained encoder that does not beat this has learned nothing that the form does not say.

Shapes: N recordings, F facts, K outputs.
"""

import numpy as np

from clef_jax.embedding.prepared import Embedded

FACTS = ("age_years", "male", "sbp_mmhg")
_TYPICAL = np.array([60.0, 0.5, 130.0])
"""Subtracted; the same for all splits, so that no test recording moves another."""
_SAME_CORRELATION = 0.999


def features_of(one: Embedded, left_out: tuple[str, ...] = ()) -> np.ndarray:
    """Each fact of the patient, and whether it is known: float32 [N, 2 F].

    NaN where an encoder has no features either, so that all models answer for the same recordings.

    Args:
        left_out: facts that would give the answer away.
    """
    values = _values(one)
    known = np.isfinite(values)
    centred = np.where(known, values - _TYPICAL[None, :], 0.0)
    kept = [place for place, name in enumerate(FACTS) if name not in left_out]
    features = np.concatenate([centred[:, kept], known[:, kept]], axis=1).astype(np.float32)
    features[~one.usable] = np.nan
    return features


def giving_away(one: Embedded, target: np.ndarray) -> tuple[str, ...]:
    """The facts that are the answer itself, in whatever form.

    Args:
        target: [N, K], NaN rows are left out.
    """
    return tuple(
        name
        for name, fact in zip(FACTS, _values(one).T, strict=True)
        if any(_same(fact, column) for column in target.T)
    )


def _values(one: Embedded) -> np.ndarray:
    return np.array([[fact[name] for name in FACTS] for fact in one.facts], float)


def _same(fact: np.ndarray, column: np.ndarray) -> bool:
    both = np.isfinite(fact) & np.isfinite(column)
    fact, column = fact[both], column[both]
    if len(fact) < 2 or fact.std() == 0 or column.std() == 0:
        return False
    return bool(abs(np.corrcoef(fact, column)[0, 1]) > _SAME_CORRELATION)
