"""Answers: what a head says about recordings, from their features.

Shapes: N recordings or windows, D features that the head reads, K outputs.
"""

import dataclasses
import hashlib
import json

import numpy as np

from clef_jax.answers import calibration as calibration_lib, prevalence as prevalence_lib
from clef_jax.embedding import head as head_lib
from clef_jax.embedding.head import Head


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Answers to recordings; all are NaN for one without an answer.

    A classification has probabilities and decisions, a regression has values; the others are None.
    """

    names: tuple[str, ...]
    """Names of the outputs."""
    kind: str
    """Kind of the head."""
    probabilities: np.ndarray | None = None
    """Probability of each output, float64 [..., K]."""
    decisions: np.ndarray | None = None
    """1 where an output is decided to be positive, else 0, float64 [..., K]; None if the head has
    no thresholds. In a multiclass head, the most probable class is 1."""
    values: np.ndarray | None = None
    """Predicted values, float64 [..., K]."""
    lower: np.ndarray | None = None
    """Lower ends of the intervals, float64 [..., K]; None if the head states none."""
    upper: np.ndarray | None = None
    """Upper ends of the intervals, float64 [..., K]."""
    thresholds: np.ndarray | None = None
    """Lowest probability at which each output is positive, [K], at the prevalence below."""
    prevalence: np.ndarray | None = None
    """Prevalence that the probabilities assume, [K]; None if unknown."""
    coverage: float | None = None
    """Fraction of patients whose true value the interval holds."""


def logits(head: Head, features: np.ndarray) -> np.ndarray:
    """Returns the logits of a head, float64 [..., K], for features [..., D]."""
    return np.asarray(features, np.float64) @ head.weight.astype(np.float64).T + head.bias


def answer(head: Head, features: np.ndarray, prevalence: np.ndarray | None = None) -> Answers:
    """Returns the answers of a head to features [..., D].

    Args:
        features: features in the order of `Head.features`; NaN gives no answer.
        prevalence: prevalence of each output among the people to whom the head is applied, [K]; by
            default the one that the head assumes. Thresholds change with the probabilities, so that
            decisions about single outputs stay as they were chosen.
    """
    return of_logits(head, logits(head, features), prevalence)


def of_logits(head: Head, logit: np.ndarray, prevalence: np.ndarray | None = None) -> Answers:
    """Returns the answers of a head with the logits [..., K]; see `answer`."""
    if head.kind == "regression":
        values = logit * head.scale + head.centre
        width = head.half_width
        return Answers(
            head.names,
            head.kind,
            values=values,
            lower=None if width is None else values - width,
            upper=None if width is None else values + width,
            coverage=head.coverage,
        )
    probability = calibration_lib.probabilities(head.kind, logit, head.calibration)
    threshold, assumed = head.threshold, head.prevalence
    if prevalence is not None:
        if assumed is None:
            raise ValueError("The head does not state the prevalence that it assumes.")
        probability = prevalence_lib.correct(head.kind, probability, assumed, prevalence)
        if threshold is not None:
            threshold = prevalence_lib.correct("binary", threshold, assumed, prevalence)
    return Answers(
        head.names,
        head.kind,
        probabilities=probability,
        decisions=_decisions(head.kind, probability, threshold),
        thresholds=None if head.kind == "multiclass" else threshold,
        prevalence=assumed if prevalence is None else prevalence,
    )


def _decisions(
    kind: str, probability: np.ndarray, threshold: np.ndarray | None
) -> np.ndarray | None:
    if kind == "multiclass":
        decided = np.eye(probability.shape[-1])[np.argmax(probability, axis=-1)]
    elif threshold is None:
        return None
    else:
        decided = (probability >= threshold).astype(float)
    return np.where(np.isnan(probability), np.nan, decided)


def fingerprint(head: Head) -> str:
    """Returns a SHA-256 digest of everything that determines the answers of a head."""
    arrays = {name: getattr(head, name) for name in head_lib.ARRAY_FIELDS}
    if head.calibration is not None:
        arrays |= head.calibration.arrays()
    digest = hashlib.sha256(json.dumps(head_lib.entry(head), sort_keys=True).encode())
    for name, array in arrays.items():
        if array is not None:
            digest.update(name.encode() + np.ascontiguousarray(array, np.float64).tobytes())
    return digest.hexdigest()
