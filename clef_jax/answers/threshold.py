"""Thresholds: the lowest probability at which an output is positive.

They are chosen on recordings that neither head nor calibration was fitted to.

Shapes: N recordings, K outputs, S candidates.
"""

import dataclasses

import numpy as np

from clef_jax.errors import WrongArgument

BALANCED, SENSITIVITY, SPECIFICITY = RULES = ("balanced", "sensitivity", "specificity")
"""Rules: the best balanced accuracy, at least a sensitivity, or at least a specificity."""

_ROUNDING = 1e-9
"""Tolerance for fractions of recordings that equal a wanted value."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """How thresholds are chosen.

    Raises:
        WrongArgument: the rule is unknown, or the wanted value is not between 0 and 1.
    """

    name: str = BALANCED
    wanted: float | None = None
    """Least sensitivity or specificity; None for the best balanced accuracy."""

    def __post_init__(self):
        if self.name not in RULES or (self.name == BALANCED) != (self.wanted is None):
            raise WrongArgument(
                f"Thresholds are chosen by {BALANCED}, or by a {SENSITIVITY} or {SPECIFICITY} with "
                f"its value, not by {self.name} {self.wanted}.",
                problem="wrong_rule",
            )
        if self.wanted is not None and not 0 < self.wanted < 1:
            raise WrongArgument(
                f"The wanted {self.name} must be above 0 and below 1, not {self.wanted:g}.",
                problem="wrong_rule",
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Achieved:
    """Rates that decisions by thresholds achieve; NaN where a class has no recordings."""

    sensitivity: np.ndarray
    """Fraction of the positive recordings that are decided positive, [K]."""
    specificity: np.ndarray
    """Fraction of the negative recordings that are decided negative, [K]."""


def choose(target: np.ndarray, probability: np.ndarray, rule: Rule = Rule()) -> np.ndarray:
    """Returns the threshold of each output, [K]; 0.5 for one without recordings of both classes.

    A threshold lies halfway between the probabilities of two recordings. A wanted sensitivity gives
    the highest threshold that reaches it, and so the best specificity; a wanted specificity gives
    the lowest.

    Args:
        target: outcomes, 0 or 1, [N, K].
        probability: probabilities, [N, K].
    """
    pairs = zip(target.T, probability.T, strict=True)
    return np.array([_choose(np.asarray(y), np.asarray(p, float), rule) for y, p in pairs])


def _choose(target: np.ndarray, probability: np.ndarray, rule: Rule) -> float:
    positive, negative = np.sort(probability[target > 0]), np.sort(probability[target <= 0])
    if not len(positive) or not len(negative):
        return 0.5
    candidates = _candidates(probability)
    sensitivity = 1 - np.searchsorted(positive, candidates, side="left") / len(positive)
    specificity = np.searchsorted(negative, candidates, side="left") / len(negative)
    if rule.wanted is None:
        return float(candidates[np.argmax(sensitivity + specificity)])
    if rule.name == SENSITIVITY:
        return float(candidates[sensitivity >= rule.wanted - _ROUNDING][-1])
    return float(candidates[specificity >= rule.wanted - _ROUNDING][0])


def _candidates(probability: np.ndarray) -> np.ndarray:
    """Returns the thresholds that differ in their decisions, ascending, [S].

    The first decides that all recordings are positive. The last decides that none is, unless a
    probability is 1.
    """
    values = np.unique(probability)
    halfway = (values[1:] + values[:-1]) / 2
    # Between neighbouring floats there is no number: the middle then rounds to either of them.
    halfway = np.where(halfway > values[:-1], halfway, values[1:])
    return np.concatenate([[0.0], halfway, [(values[-1] + 1) / 2]])


def measure(target: np.ndarray, probability: np.ndarray, threshold: np.ndarray) -> Achieved:
    """Returns what thresholds [K] achieve for probabilities [N, K] with outcomes [N, K]."""
    target = np.asarray(target) > 0
    decided = probability >= threshold
    with np.errstate(invalid="ignore"):
        return Achieved(
            (decided & target).sum(axis=0) / target.sum(axis=0),
            (~decided & ~target).sum(axis=0) / (~target).sum(axis=0),
        )
