"""The number whose causes are explained: the log-odds of one output of a head, or its value.

Log-odds rather than probabilities, because probabilities hardly move near 0 and 1.

Shapes: N windows, D features that the head reads, K outputs.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from clef_jax import plugin
from clef_jax.embedding.head import Head
from clef_jax.errors import UserError

LOG_ODDS, VALUE = "log-odds", "value"
"""Units of the explained number."""


class Weights(NamedTuple):
    """Arrays that map features to the explained number; a pytree."""

    weight: Any
    """[K, D]"""
    bias: Any
    """[K]"""
    slope: Any
    """Factor of each logit, [K]: of a calibration, or the scale of a regression."""
    intercept: Any
    """Addend of each logit, [K]."""


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """One output of a head, whose answer is explained."""

    head: Head
    number: int
    """Number of the output, from 0."""

    @property
    def name(self) -> str:
        """Name of the output."""
        return self.head.names[self.number]

    @property
    def unit(self) -> str:
        """Unit of the explained number: `log-odds`, or `value` of a regression."""
        return VALUE if self.head.kind == "regression" else LOG_ODDS

    @property
    def weights(self) -> Weights:
        """Arrays of the head in float64.

        A temperature or Platt calibration is part of them; an isotonic one is a flight of steps, so
        the log-odds before it are explained.
        """
        head = self.head
        count = len(head.names)
        slope, intercept = np.ones(count), np.zeros(count)
        if head.kind == "regression":
            slope, intercept = head.scale, head.centre
        elif head.calibration is not None and head.calibration.slope is not None:
            slope, intercept = head.calibration.slope, head.calibration.intercept
        arrays = (head.weight, head.bias, slope, intercept)
        return Weights(*(np.asarray(array, np.float64) for array in arrays))

    def score(self, features: np.ndarray) -> np.ndarray:
        """Returns the explained number, float64 [N], for features [N, D]."""
        features = np.asarray(features, np.float64)
        return score(self.head.kind, self.number, self.weights, features, np)

    def with_weights(self, weight: np.ndarray) -> "Target":
        """Returns the same output of a head with other weights, [K, D]."""
        return Target(dataclasses.replace(self.head, weight=weight), self.number)


def score(kind: str, number: int, weights: Weights, features: Any, xp: Any) -> Any:
    """Returns the explained number, [N], for features [N, D].

    Args:
        kind: kind of the head.
        number: number of the output.
        weights: arrays of the head.
        features: features that the head reads.
        xp: `numpy` or `jax.numpy`.
    """
    logits = features @ weights.weight.T + weights.bias[None]
    logits = weights.slope[None] * logits + weights.intercept[None]
    own = logits[:, number]
    if kind != "multiclass":
        return own
    # Log-odds of the class against all others together.
    others = xp.concatenate([logits[:, :number], logits[:, number + 1 :]], axis=1)
    largest = others.max(axis=1)
    return own - largest - xp.log(xp.exp(others - largest[:, None]).sum(axis=1))


def choose(head: Head, name: str | None, answers: np.ndarray) -> Target:
    """Returns the output to explain.

    Args:
        head: head of the model.
        name: name of the output; by default the only one, or the most probable one.
        answers: probabilities or values of the outputs, [K].

    Raises:
        UserError: the output is unknown, or a head of several numbers needs a name.
    """
    if name is not None:
        if name not in head.names:
            raise UserError(plugin.unknown("output", name, head.names), problem="unknown_output")
        return Target(head, head.names.index(name))
    if head.kind == "regression" and len(head.names) > 1:
        raise UserError(
            f"The head has several numbers ({', '.join(head.names)}); name the one to explain with "
            "--output, or output= in Python.",
            problem="several_outputs",
        )
    return Target(head, int(np.argmax(answers)))
