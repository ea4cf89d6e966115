"""Rows of a table of answers: one for each output of each recording, lead or window.

Shapes: D features that the head reads, K outputs.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from clef_jax.answers import answer as answer_lib, intended_use
from clef_jax.answers.answer import Answers
from clef_jax.embedding.head import Head
from clef_jax.embedding.row import Row
from clef_jax.finding import Finding


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerRow:
    """One answer, or the reason why there is none; None where a field does not apply."""

    recording: str
    """Name of the recording."""
    lead: str | None = None
    """Name of the lead, or its number if it has no name."""
    start_seconds: float | None = None
    duration_seconds: float | None = None
    output: str | None = None
    """Name of the output; None in the one row without an answer."""
    probability: float | None = None
    decision: bool | None = None
    """Whether the output is positive; None if the head has no threshold."""
    threshold: float | None = None
    """Lowest probability at which it is positive."""
    prevalence: float | None = None
    """Fraction of positives that the probability assumes."""
    value: float | None = None
    """Value of a regression."""
    lower: float | None = None
    """Lower end of its interval."""
    upper: float | None = None
    """Upper end of its interval."""
    coverage: float | None = None
    """Fraction of patients whose true value the interval holds."""
    num_windows: int | None = None
    """Number of windows that the answer is about."""
    missing_fraction: float | None = None
    """Fraction of samples that are missing."""
    usable: bool
    """Whether there is an answer."""
    problems: tuple[str, ...] = ()
    """Problem codes of the signal, and of what is unlike the recordings of the fit."""
    reason: str | None = None
    """Sentence that says why there is no answer."""
    model_fingerprint: str
    """SHA-256 digest of the encoder's weights and preprocessing."""
    head_fingerprint: str
    """SHA-256 digest of the head."""
    intended_use: str = intended_use.SHORT


class Answerer:
    """Makes the rows of a table of answers.

    Args:
        head: head of the model.
        prevalence: prevalence of each output, [K]; by default that of the head.
        model_fingerprint: digest of the encoder.
    """

    def __init__(self, head: Head, prevalence: np.ndarray | None, model_fingerprint: str):
        self._head, self._prevalence = head, prevalence
        self._fingerprints: dict[str, Any] = {
            "model_fingerprint": model_fingerprint,
            "head_fingerprint": answer_lib.fingerprint(head),
        }

    def answer(self, row: Row) -> Answers | None:
        """Returns the answers to an embedded recording or window; None if it is unusable."""
        if not row.usable or not np.isfinite(row.embedding).all():
            return None
        return answer_lib.answer(self._head, row.embedding, self._prevalence)

    def rows(
        self, row: Row, answers: Answers | None, flags: tuple[str, ...]
    ) -> Iterator[AnswerRow]:
        """Yields the rows of an embedded recording or window.

        Args:
            row: the recording or window.
            answers: its answers; None yields one row with the reason.
            flags: problem codes of what is unlike the recordings that the head was fitted to.
        """
        common: dict[str, Any] = {
            "recording": row.recording,
            "lead": row.lead,
            "start_seconds": row.start_seconds,
            "duration_seconds": row.duration_seconds,
            "missing_fraction": row.missing_fraction,
            "problems": (*row.problems, *flags),
            **self._fingerprints,
        }
        if answers is None:
            sentences = [finding.detail for finding in row.findings]
            reason = " ".join(sentences) or "The signal has no features."
            yield AnswerRow(**common, usable=False, reason=reason)
            return
        for number, name in enumerate(answers.names):
            decision = _at(answers.decisions, number)
            yield AnswerRow(
                **common,
                usable=True,
                num_windows=row.num_windows,
                output=name,
                probability=_at(answers.probabilities, number),
                decision=None if decision is None else bool(decision),
                threshold=_at(answers.thresholds, number),
                prevalence=_at(answers.prevalence, number),
                value=_at(answers.values, number),
                lower=_at(answers.lower, number),
                upper=_at(answers.upper, number),
                coverage=answers.coverage,
            )

    def skipped(self, finding: Finding) -> AnswerRow:
        """Returns the row of a recording that cannot be read or embedded."""
        return AnswerRow(
            recording=finding.record_id,
            lead=finding.lead,
            usable=False,
            problems=(finding.problem,),
            reason=finding.detail,
            **self._fingerprints,
        )


def _at(values: np.ndarray | None, number: int) -> float | None:
    return None if values is None else float(values[number])
