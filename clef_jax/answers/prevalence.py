"""Prevalence: corrects probabilities for people among whom an outcome is more or less frequent.

The correction assumes that the signals of people with the outcome, and of those without, are like
those that the head was fitted to; only their numbers differ (Saerens et al. 2002).

Shapes: N recordings, K outputs.
"""

from collections.abc import Sequence

import numpy as np

from clef_jax import plugin
from clef_jax.errors import UserError, WrongArgument


def correct(kind: str, probability: np.ndarray, assumed: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns the probabilities [..., K] at another prevalence.

    Args:
        kind: kind of the head; the probabilities of a multiclass one sum to 1.
        probability: probabilities at the prevalence `assumed`, [..., K].
        assumed: prevalence that the probabilities assume, [K], above 0 and below 1.
        new: prevalence among the people to whom the head is applied, [K].
    """
    positive = np.asarray(probability, np.float64) * (new / assumed)
    if kind == "multiclass":
        return positive / positive.sum(axis=-1, keepdims=True)
    negative = (1 - np.asarray(probability, np.float64)) * ((1 - new) / (1 - assumed))
    return positive / (positive + negative)


def parse(
    given: Sequence[str], kind: str, names: Sequence[str], assumed: np.ndarray | None
) -> np.ndarray:
    """Returns the prevalence of each output, [K], as a user gives it.

    Args:
        given: texts such as `0.02` for a head with one output, or `AF=0.02`. Outputs without a text
            keep the assumed prevalence; the other classes of a multiclass head are scaled so that
            all sum to 1.
        kind: kind of the head.
        names: names of the outputs.
        assumed: prevalence that the probabilities assume, [K]; None if unknown.

    Raises:
        UserError: the assumed prevalence is unknown or no fraction, a text is no fraction or names
            no output, or the classes of a multiclass head do not sum to 1.
    """
    if kind == "regression":
        raise WrongArgument(
            "--prevalence corrects probabilities, but this head predicts values.",
            problem="no_prevalence",
        )
    if assumed is None or not np.all((assumed > 0) & (assumed < 1)):
        raise UserError(
            "The head does not state the prevalence that its probabilities assume, so they cannot "
            "be corrected; omit --prevalence.",
            problem="no_prevalence",
        )
    values = dict(_parse(text, names) for text in given)
    new = np.array([values.get(name, old) for name, old in zip(names, assumed, strict=True)])
    if kind != "multiclass":
        return new
    is_given = np.array([name in values for name in names])
    rest = 1 - new[is_given].sum()
    if (is_given.all() and abs(rest) > 1e-6) or (not is_given.all() and rest <= 0):
        raise WrongArgument(
            "The prevalences of the classes must sum to 1: those given by --prevalence leave "
            f"{rest:.3g} for the others.",
            problem="wrong_prevalence",
        )
    new[~is_given] *= rest / new[~is_given].sum() if not is_given.all() else 1.0
    return new


def _parse(text: str, names: Sequence[str]) -> tuple[str, float]:
    """Returns the name and the prevalence of one output."""
    name, equals, number = text.rpartition("=")
    if not equals and len(names) > 1:
        raise WrongArgument(
            f"--prevalence={text} must name an output, such as {names[0]}=0.1.",
            problem="wrong_prevalence",
        )
    name = name.strip() if equals else names[0]
    if name not in names:
        raise WrongArgument(plugin.unknown("output", name, names), problem="unknown_output")
    try:
        value = float(number)
    except ValueError:
        value = np.nan
    if not 0 < value < 1:
        raise WrongArgument(
            f"--prevalence={text} must be a fraction above 0 and below 1, such as 0.02.",
            problem="wrong_prevalence",
        )
    return name, value
