"""Page of an explained answer: the picture, what was checked, and what it does not say."""

import html
import pathlib
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from clef_jax.answers import intended_use
from clef_jax.answers.answer import Answers
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import window as window_lib
from clef_jax.embedding.head import ISOTONIC
from clef_jax.errors import counted
from clef_jax.explaining import checks as checks_lib
from clef_jax.explaining.checks import Removal, Similarity
from clef_jax.explaining.settings import INTEGRATED_GRADIENTS, OCCLUSION
from clef_jax.explaining.target import LOG_ODDS
from clef_jax.page import template

if TYPE_CHECKING:
    from clef_jax.explaining.explanation import Explanation

TITLE = "What moved an answer"

METHODS = {
    OCCLUSION: "Occlusion: {patch:g} s of the signal at a time are made missing, as in a gap, and "
    "a segment's value is how far the answer falls without it, averaged over the parts that hold "
    "it.",
    INTEGRATED_GRADIENTS: "Integrated gradients: the signal grows out of a flat line in {points} "
    "steps, after the filter and the scaling, and each segment gets its share of the change of the "
    "answer.",
}
UNSAID = (
    "It shows what moved this model's answer, not what is wrong with a heart, and not whether the "
    "answer is right. A wrong answer can have a plausible picture.",
    "A rhythm lies between beats and has no place of its own: an irregular rhythm is marked on "
    "single beats, or on none, and a part without colour is not unimportant.",
    "The values compare with a signal that was never recorded: a line across the part, which "
    "leaves out a beat, or a flat line throughout. Another comparison gives another picture.",
    "Parts are occluded one at a time. What only several parts together say, or each of them alone "
    "would say as well, does not show.",
    "It is about one window of one recording, and says nothing about others.",
)
"""Sentences about the limits of such a picture."""

_VERDICTS = {
    checks_lib.SAME_HEAD: "A randomly drawn head gives much the same picture: it shows where the "
    "signal is strong rather than what the head has learned.",
    checks_lib.SAME_ENCODER: "A randomly initialised encoder gives much the same picture: it shows "
    "the signal rather than what the encoder has learned.",
    checks_lib.INCOMPLETE: "The shares do not add up to the change of the answer.",
    checks_lib.RAISING_UNMOVED: "Without the parts that are most orange the answer changes hardly "
    "more than without random parts of the same lengths.",
    checks_lib.LOWERING_UNMOVED: "Without the parts that are most blue the answer changes hardly "
    "more than without random parts of the same lengths.",
}
_SAME_PLACES = (
    "Random networks colour much the same places, such as the beats, but otherwise: that a place "
    "is coloured says little, which colour it has says more."
)
_OF_ONE_COLOUR = {checks_lib.RAISING_UNMOVED: "orange", checks_lib.LOWERING_UNMOVED: "blue"}


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is such a page."""
    return template.is_document(path, TITLE)


def verdicts(explanation: "Explanation") -> list[str]:
    """Returns sentences about what the checks say of the picture, at least one."""
    codes = explanation.checks.doubts
    places = [_SAME_PLACES] if explanation.checks.marks_same_places else []
    if not codes:
        return ["No check speaks against this picture.", *places]
    what = "this picture"
    if len(codes) == 1 and codes[0] in _OF_ONE_COLOUR and len(explanation.checks.removals) > 1:
        what = f"what is {_OF_ONE_COLOUR[codes[0]]}"
    return [f"Do not rely on {what}.", *(_VERDICTS[code] for code in codes), *places]


def summary(explanation: "Explanation") -> list[str]:
    """Returns sentences for the terminal: intended use, the answer, and what the checks say."""
    return [intended_use.INTENDED_USE, *_answer(explanation), *verdicts(explanation)]


def render(explanation: "Explanation") -> str:
    """Returns the page as HTML."""
    first, *more = _answer(explanation)
    kind = "warning" if explanation.checks.doubts else "quiet"
    what = (
        "The window on ECG paper, coloured by how far each part raises or lowers the answer for "
        f"{explanation.output}."
    )
    limits = intended_use.limits(explanation.target.head)
    return template.document(
        TITLE,
        f'<p class="answer">{html.escape(first)}</p>',
        template.notes([intended_use.INTENDED_USE, *more]),
        f'<p class="{kind}"><b>{html.escape(" ".join(verdicts(explanation)))}</b></p>',
        template.section(
            "What moved it",
            _method(explanation),
            template.picture(explanation.plot(), what),
            anchor="picture",
        ),
        template.section(
            "Checks of the picture",
            "Many pictures of this kind look convincing without meaning anything. These checks "
            "were computed for this one.",
            template.table(("check", "result", "verdict"), _rows(explanation)),
            anchor="checks",
        ),
        template.section(
            "What the picture does not say", "", template.notes(UNSAID), anchor="unsaid"
        ),
        template.section("Limits of the model", "", template.notes(limits), anchor="limits"),
        template.section("Origin", "", template.description_list(_facts(explanation))),
    )


def _answer(explanation: "Explanation") -> Iterator[str]:
    """Yields sentences about the recording and the answers to it and to the window."""
    window, number = explanation.window, explanation.target.number
    lead = explanation.lead_names[0]
    where = f"lead {lead}" if len(explanation.lead_names) == 1 else "all leads"
    start, end = window.start_seconds, window.start_seconds + window.seconds
    yield (
        f"{explanation.recording}, {where}, {start:g} to {end:g} s: for {explanation.output}, the "
        f"model answers {_value(explanation.answers, number)}."
    )
    if explanation.recording_answers is not None and explanation.num_windows > 1:
        windows = counted(explanation.num_usable, "usable window")
        yield (
            f"This window has the highest answer of {windows}; to the whole recording the model "
            f"answers {_value(explanation.recording_answers, number)}."
        )
    for code in window.problems:
        yield f"The window {window_lib.PROBLEMS.get(code, code)}."
    yield from Fitted.from_json(explanation.target.head.fitted).describe(explanation.flags)


def _value(answers: Answers, number: int) -> str:
    if answers.probabilities is None:
        assert answers.values is not None
        return f"{answers.values[number]:.4g}"
    text = f"a probability of {answers.probabilities[number]:.1%}"
    if answers.thresholds is not None:
        text += f" (threshold {answers.thresholds[number]:.1%})"
    return text


def _method(explanation: "Explanation") -> str:
    points = explanation.picture.num_points
    method = METHODS[explanation.method].format(
        patch=2 * explanation.segment_seconds, points=points
    )
    unit = "the unit of the answer"
    if explanation.unit == LOG_ODDS:
        unit = "log-odds, in which 1 multiplies the odds by 2.7"
        calibration = explanation.target.head.calibration
        if calibration is not None and calibration.kind == ISOTONIC:
            unit += ", before the isotonic calibration"
    return f"{method} Values are in {unit}; segments last {explanation.segment_seconds:.3g} s."


def _rows(explanation: "Explanation") -> Iterator[tuple[str, str, str]]:
    checks = explanation.checks
    yield _similarity_row("Randomly drawn heads on the same encoder", checks.head)
    if checks.encoder is None:
        yield (
            "Randomly initialised encoders below the same head",
            "not computed: the published network has no random initialisation",
            "unknown",
        )
    else:
        name = "Randomly initialised encoders below the same head"
        yield _similarity_row(name, checks.encoder)
    picture = explanation.picture
    if picture.error is not None and picture.flat_score is not None:
        change = explanation.score - picture.flat_score
        yield (
            "The shares add up to the change of the answer",
            f"{picture.contributions.sum():+.4g} against {change:+.4g}, from "
            f"{picture.flat_score:.3g} for a flat line to {explanation.score:.3g}: error "
            f"{picture.error:.2%}",
            "they do" if picture.error <= checks_lib.MAX_ERROR else "they do not",
        )
    for removal in checks.removals:
        yield _removal_row(explanation, removal)


def _similarity_row(name: str, similarity: Similarity) -> tuple[str, str, str]:
    signed = ", ".join(f"{value:+.2f}" for value in similarity.signed)
    sizes = float(np.mean(similarity.sizes))
    return (
        name,
        f"rank correlation of the pictures {signed}; without the sign of the values {sizes:+.2f} "
        "on average",
        _resemblance(similarity),
    )


def _resemblance(similarity: Similarity) -> str:
    if similarity.is_same:
        return "much the same picture"
    return "other colours, same places" if similarity.marks_same_places else "another picture"


def _removal_row(explanation: "Explanation", removal: Removal) -> tuple[str, str, str]:
    kind = "raise" if removal.raises else "lower"
    seconds = explanation.segment_seconds * int(removal.marked.sum())
    changes = removal.random_changes
    low, high = float(changes.min()), float(changes.max())
    return (
        f"Without the {seconds:.3g} s that {kind} the answer most",
        f"the answer changes by {removal.change:+.3g}; without random parts of the same lengths by "
        f"{changes.mean():+.3g} on average ({low:+.3g} to {high:+.3g}, {len(changes)} draws)",
        f"a larger change than in {removal.fraction_below:.0%} of the draws",
    )


def _facts(explanation: "Explanation") -> dict[str, str]:
    return {
        "model": explanation.model_name,
        "fingerprint": explanation.model_fingerprint,
        "head": explanation.head_fingerprint,
        "method": explanation.method,
        "seed": str(explanation.seed),
        "clef_jax": metadata.version("clef_jax"),
    }
