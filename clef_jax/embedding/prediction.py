"""Computes the answers of a model with a head to signals: `clef_jax.load(path).predict(...)`.

Shapes: W windows, K outputs.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.answers import answer as answer_lib, intended_use, prevalence as prevalence_lib
from clef_jax.answers.answer import Answers
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import head as head_lib
from clef_jax.embedding.attention_pooling import AttentionPooled
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.head import Head
from clef_jax.embedding.window import WindowQuality
from clef_jax.embedding.with_classical import WithClassical
from clef_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Answers):
    """Answers of a model to signals, with their quality and origin.

    Arrays [..., K] have the leading axes of the signals, and one for windows with `each_window`.
    """

    usable: np.ndarray
    """Whether there is an answer, bool [...]; without a usable window there is none, but NaN."""
    problems: Any
    """Problem codes of each answer, as in the table of `clef-jax predict`: a tuple for one answer,
    lists of tuples for axes."""
    start_seconds: np.ndarray | None = None
    """Start of each window in seconds, [W]; None without `each_window`."""
    model_fingerprint: str
    """SHA-256 digest of the encoder's weights and preprocessing."""
    head_fingerprint: str
    """SHA-256 digest of the head."""
    intended_use: str = intended_use.INTENDED_USE
    limits: tuple[str, ...] = ()
    """Sentences about what the head was fitted to and what its answers mean."""


def require_head(head: Head | None, name: str) -> Head:
    """Returns the head of a model.

    Raises:
        UserError: the model has none.
    """
    if head is None:
        raise UserError(
            f"{name} has no head, so it embeds recordings, but answers no question. Fit a head to "
            "labelled recordings first: clef-jax fit.",
            problem="no_head",
        )
    return head


def encoder_of(head: Head, encoder: Encoder) -> tuple[Encoder, slice]:
    """Returns an encoder that gives the features of a head, and their slice.

    Raises:
        UserError: the encoder lacks the head's layer, gives another number of features, or no time
            steps for a head that reads them.
    """
    if head_lib.CLASSICAL in head.features:
        both = WithClassical(encoder, head.layer)
        encoder, part = both, slice(0, both.num_features)
    elif head.query is not None:
        pooled = AttentionPooled(encoder, head.layer, head.query)
        encoder, part = pooled, slice(0, pooled.num_features)
    else:
        part = encoder.layers[head.layer]
    count = part.stop - part.start
    if count != head.weight.shape[1]:
        raise UserError(
            f"The head reads {head.weight.shape[1]} features, but {encoder.name} gives {count}; "
            "fit the head again with this version.",
            problem="misshapen_head",
        )
    return encoder, part


def prevalence_of(
    head: Head, given: Mapping[str, float] | float | Sequence[str] | None
) -> np.ndarray | None:
    """Returns the prevalence of each output, [K], that a user gives; None for the head's own.

    Args:
        given: fraction by the name of the output, one fraction for a head of one output, or texts
            as `answers.prevalence.parse` takes them.

    Raises:
        UserError: the prevalence is no fraction, names no output, or cannot be corrected.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        texts = [f"{name}={value!r}" for name, value in given.items()]
    else:
        texts = [repr(given)] if isinstance(given, int | float) else list(given)
    return prevalence_lib.parse(texts, head.kind, head.names, head.prevalence) if texts else None


def predict(
    head: Head,
    features: Sequence[np.ndarray],
    qualities: Sequence[WindowQuality],
    flags: Sequence[tuple[str, ...]],
    *,
    leading: tuple[int, ...],
    prevalence: np.ndarray | None,
    start_seconds: np.ndarray | None,
    model_fingerprint: str,
) -> Prediction:
    """Returns the answers to signals.

    Args:
        head: head of the model.
        features: features that the head reads, of each signal [D], or of each of its windows
            [W, D].
        qualities: quality of the windows of each signal.
        flags: problem codes of what is unlike the recordings that the head was fitted to, of each
            signal.
        leading: axes of the signals.
        prevalence: prevalence of each output, [K]; by default that of the head.
        start_seconds: start of each window, [W]; None if the answers are those of whole signals.
        model_fingerprint: digest of the encoder.
    """
    each_window = start_seconds is not None
    usable, problems = [], []
    for quality, codes in zip(qualities, flags, strict=True):
        windows = [(*window, *codes) for window in quality.problems]
        usable.append(quality.usable if each_window else quality.usable.any())
        # A mean has the problems of all windows, as in a row of a table.
        mean = tuple(sorted({code for window in windows for code in window} - set(codes)))
        problems += windows if each_window else [(*mean, *codes)]
    are_usable = np.array(usable, bool)
    answers = answer_lib.answer(
        head, np.where(are_usable[..., None], np.stack(features), np.nan), prevalence
    )
    shape = (*leading, *are_usable.shape[1:])
    by_answer = np.empty(len(problems), object)
    by_answer[:] = problems
    return Prediction(
        **_shaped(answers, shape),
        usable=are_usable.reshape(shape),
        problems=by_answer.reshape(shape).tolist(),
        start_seconds=start_seconds,
        model_fingerprint=model_fingerprint,
        head_fingerprint=answer_lib.fingerprint(head),
        limits=intended_use.limits(head),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WindowAnswerer:
    """Answers about the windows of one signal as they come, as `predict` would with all of them."""

    head: Head
    encoder: Encoder
    """Gives the features that the head reads."""
    part: slice
    """Slice of these features among those of all layers of the encoder."""
    prevalence: np.ndarray | None
    """Prevalence of each output, [K]; None for that of the head."""
    flags: tuple[str, ...]
    """Problem codes of what is unlike the recordings that the head was fitted to."""
    model_fingerprint: str

    def __call__(self, features: np.ndarray, quality: WindowQuality) -> Prediction:
        """Returns the answers to one window.

        Args:
            features: features of all layers of the encoder.
            quality: quality of the window.
        """
        usable = np.asarray(quality.usable[0])
        read = np.where(usable, features[self.part], np.nan)
        answers = answer_lib.answer(self.head, read, self.prevalence)
        return Prediction(
            **_shaped(answers, ()),
            usable=usable,
            problems=(*quality.problems[0], *self.flags),
            model_fingerprint=self.model_fingerprint,
            head_fingerprint=self._head_fingerprint,
            limits=self._limits,
        )

    @functools.cached_property
    def _head_fingerprint(self) -> str:
        return answer_lib.fingerprint(self.head)

    @functools.cached_property
    def _limits(self) -> tuple[str, ...]:
        return intended_use.limits(self.head)


def window_answerer(
    head: Head | None,
    encoder: Encoder,
    prevalence: Mapping[str, float] | float | None = None,
    *,
    sample_rate_hz: float,
    lead_names: Sequence[str] | None = None,
    age_years: float | None = None,
) -> WindowAnswerer | None:
    """Returns what answers about the windows of a signal; None for a model without a head.

    Args:
        head: head of the model.
        encoder: encoder of the model.
        prevalence: as `prevalence_of` takes it.
        sample_rate_hz, age_years: of the signal and the patient, as `flags_of` takes them.
        lead_names: names of the signal's leads; by default unknown.

    Raises:
        UserError: the head does not fit the encoder, or the prevalence cannot be corrected.
    """
    if head is None and prevalence is None:
        return None
    head = require_head(head, encoder.name)
    corrected = prevalence_of(head, prevalence)
    of_head, part = encoder_of(head, encoder)
    is_one = encoder.in_channels == 1 and lead_names is not None and len(lead_names) == 1
    names = lead_names if is_one else None
    (flags,) = flags_of(head, (), sample_rate_hz, names, age_years)
    return WindowAnswerer(
        head=head,
        encoder=of_head,
        part=part,
        prevalence=corrected,
        flags=flags,
        model_fingerprint=encoder.fingerprint,
    )


def _shaped(answers: Answers, shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns the fields of answers, whose arrays get the axes `shape` before that of outputs."""
    fields = {field.name: getattr(answers, field.name) for field in dataclasses.fields(answers)}
    per_answer = ("probabilities", "decisions", "values", "lower", "upper")
    for name in per_answer:
        if fields[name] is not None:
            fields[name] = fields[name].reshape(*shape, len(answers.names))
    return fields


def flags_of(
    head: Head,
    shape: tuple[int, ...],
    sample_rate_hz: float,
    lead_names: Sequence[str] | None,
    age_years: float | None,
) -> list[tuple[str, ...]]:
    """Returns the problem codes of signals that are unlike those that a head was fitted to.

    Args:
        head: head of the model.
        shape: axes of the signals; the last is that of the leads if these are named.
        sample_rate_hz: sampling rate of the signals.
        lead_names: names of the leads along the last axis; by default they are unknown.
        age_years: age of the patient; by default unknown.
    """
    fitted = Fitted.from_json(head.fitted)
    names = list(lead_names) if lead_names is not None else [None]
    by_lead = [
        fitted.outside(sample_rate_hz=sample_rate_hz, lead=name, age_years=age_years)
        for name in names
    ]
    count = int(np.prod(shape))
    return [by_lead[number % len(names)] for number in range(count)]
