"""Heads in exported files: what a head computes, what its metadata states, and how it is verified.

Shapes: N windows, D features of the head's layer, K outputs, M knots of an isotonic calibration.
"""

from typing import Any, NamedTuple

import numpy as np

from clef_jax.answers import answer as answer_lib, intended_use
from clef_jax.convert import verify
from clef_jax.embedding import head as head_lib
from clef_jax.embedding.head import Head
from clef_jax.errors import UserError

SIGMOID, SOFTMAX, ISOTONIC, IDENTITY = "sigmoid", "softmax", "isotonic", "identity"
"""Links of a folded head."""
PROBABILITIES, VALUES = "probabilities", "values"
"""Names of a file's output of answers: of a classification, and of a regression."""
FORMS = {
    PROBABILITIES: "probability of each of the head's names; positive from its threshold on",
    VALUES: "value of each of the head's names",
}
"""Descriptions of the outputs, which files store."""
_LEAST_WIDTH = 1e-30
"""Width of a step."""


class FoldedHead(NamedTuple):
    """A head whose calibration and scale are part of its weights, as far as they are linear.

    Its answers are `link(features @ weight.T + bias)`.
    """

    weight: np.ndarray
    """Weights, float64 [K, D]."""
    bias: np.ndarray
    """Biases, float64 [K]."""
    link: str
    """`sigmoid`, `softmax`, `isotonic` (interpolation between knots) or `identity`."""
    knots: np.ndarray | None = None
    """Ascending places of the knots, float64 [K, M]; only if isotonic."""
    levels: np.ndarray | None = None
    """Probabilities at the knots, float64 [K, M]; only if isotonic."""

    @property
    def ramps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Start, reciprocal width and rise of the intervals between the knots, [K, M - 1] each, and
        the first level, [K].

        The interpolation is the first level and, of each interval, the rise times the part of its
        width that is passed, which is within 0 to 1.
        """
        assert self.knots is not None
        assert self.levels is not None
        # Knots that are the same number in float32 become a step; so do those repeated as padding.
        knots = self.knots.astype(np.float32).astype(np.float64)
        reciprocal = 1 / np.maximum(np.diff(knots, axis=1), _LEAST_WIDTH)
        return knots[:, :-1], reciprocal, np.diff(self.levels, axis=1), self.levels[:, 0]


def output_of(head: Head) -> str:
    """Returns the name of a file's output with the answers of a head."""
    return VALUES if head.kind == "regression" else PROBABILITIES


def require_exportable(head: Head) -> None:
    """Raises UserError if exported files cannot compute what a head reads."""
    if head.is_linear:
        return
    attends = head.query is not None
    what = "time steps by attention" if attends else "rhythm and spectrum beside the embedding"
    raise UserError(
        f"The head reads {what}, which exported files do not compute. Export the encoder alone "
        "with --no-head, or fit a linear head to the embedding alone.",
        problem="head_not_exportable",
    )


def fold(head: Head) -> FoldedHead:
    """Returns a head in the form that files hold.

    Raises:
        UserError: files cannot compute what the head reads.
    """
    require_exportable(head)
    weight, bias = head.weight.astype(np.float64), head.bias.astype(np.float64)
    if head.kind == "regression":
        scale = head.scale.astype(np.float64)
        return FoldedHead(scale[:, None] * weight, scale * bias + head.centre, IDENTITY)
    calibration = head.calibration
    if calibration is not None and calibration.kind == head_lib.ISOTONIC:
        knots, levels = calibration.knot_logits, calibration.knot_probabilities
        return FoldedHead(weight, bias, ISOTONIC, knots, levels)
    if calibration is not None:
        assert calibration.slope is not None
        assert calibration.intercept is not None
        weight = calibration.slope[:, None] * weight
        bias = calibration.slope * bias + calibration.intercept
    return FoldedHead(weight, bias, SOFTMAX if head.kind == "multiclass" else SIGMOID)


def describe(head: Head) -> dict[str, Any]:
    """Returns the metadata of a head, of JSON types: what is needed to use its answers."""
    arrays = {
        "thresholds": None if head.kind == "multiclass" else head.threshold,
        "prevalence": head.prevalence,
        "interval_half_width": head.half_width,
    }
    stated = {name: array.tolist() for name, array in arrays.items() if array is not None}
    return {
        **head_lib.entry(head),
        **stated,
        "output": output_of(head),
        "decision": _decision(head),
        "fingerprint": answer_lib.fingerprint(head),
        "intended_use": intended_use.INTENDED_USE,
        "limits": list(intended_use.limits(head)),
    }


def _decision(head: Head) -> str:
    """Returns how decisions follow from the output."""
    if head.kind == "regression":
        return "none"
    if head.kind == "multiclass":
        return "largest"
    return "none" if head.threshold is None else "at least threshold"


def answers(head: Head, features: np.ndarray) -> np.ndarray:
    """Returns the probabilities or values of a head, float64 [N, K], for features [N, D]."""
    return _output(answer_lib.answer(head, features))


def decisions(head: Head, output: np.ndarray) -> np.ndarray | None:
    """Returns the decisions that follow from probabilities [N, K], bool [N, K]; None without any.

    Args:
        output: the output of a file.
    """
    if head.kind == "multiclass":
        return np.argmax(output, axis=1)[:, None] == np.arange(output.shape[1])
    if head.kind == "regression" or head.threshold is None:
        return None
    return output >= head.threshold


def check(head: Head, features: np.ndarray, difference: float, output: np.ndarray) -> float:
    """Returns the largest difference of a file's answers from those that the model gives.

    A calibration may be steep, so that the rounding of features changes its probabilities by more
    than 1e-5; what it explains is allowed.

    Args:
        features: the model's own features of the windows, [N, D].
        difference: largest difference of a feature between the file and the model.
        output: the file's answers, [N, K].

    Raises:
        UserError: an answer differs by more than 1e-5 (of a value: of the standard deviation of
            the labels), beyond what the difference of the features explains.
    """
    logits = answer_lib.logits(head, features)
    weight = np.abs(head.weight.astype(np.float64))
    # The file sums in float32, of which each product has a rounding of its own.
    rounding = np.abs(features.astype(np.float64)) @ weight.T * np.finfo(np.float32).eps
    explained = difference * weight.sum(axis=1) + rounding
    if head.kind == "multiclass":  # whose probabilities depend on all logits
        slope = 1.0 if head.calibration is None else np.max(head.calibration.arrays()["slope"])
        low = high = _output(answer_lib.of_logits(head, logits))
        tolerance = verify.LARGEST_DIFFERENCE + slope * explained.max(axis=1, keepdims=True)
    else:
        ends = [_output(answer_lib.of_logits(head, logits + x)) for x in (-explained, explained)]
        low, high = np.minimum(*ends), np.maximum(*ends)
        tolerance = verify.LARGEST_DIFFERENCE * np.abs(head.scale)
    beyond = np.maximum(low - output, output - high)
    if not np.all(beyond <= tolerance):
        raise UserError(
            f"The answers of the exported file differ from the model's by up to "
            f"{np.max(beyond):.1e} more than the rounding of its features explains, so it was not "
            "written. Fit the head again, or export the encoder alone with --no-head.",
            problem="answers_differ",
        )
    return float(np.abs(output - _output(answer_lib.of_logits(head, logits))).max())


def _output(made: answer_lib.Answers) -> np.ndarray:
    output = made.values if made.probabilities is None else made.probabilities
    assert output is not None
    return output
