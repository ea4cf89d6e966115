"""Intended use and limits of a head, which every output of answers states."""

from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import head as head_lib
from clef_jax.embedding.head import Head
from clef_jax.errors import counted

SHORT = "Research software, not a medical device."
INTENDED_USE = (
    f"{SHORT} Answers are results for research, not findings about a patient; they must not guide "
    "anyone's care."
)
_MOST_NAMES = 8
"""Most outputs that a sentence lists."""


def limits(head: Head) -> tuple[str, ...]:
    """Returns sentences that say what a head was fitted to, and what its answers mean."""
    fitted = Fitted.from_json(head.fitted)
    sentences = [_fitted_to(fitted), _people(fitted)]
    sentences += [_intervals(head)] if head.kind == "regression" else _classification(head)
    if head_lib.CLASSICAL in head.features:
        sentences.append("It reads rhythm and spectrum beside the encoder's features.")
    if head.query is not None:
        sentences.append("It weights the time steps of each window by attention.")
    return tuple(sentence for sentence in sentences if sentence)


def _fitted_to(fitted: Fitted) -> str:
    if fitted.recordings is None:
        return "It is not known which recordings the head was fitted to."
    sentence = f"The head was fitted to {counted(fitted.recordings, 'recording')}"
    if fitted.patients is not None:
        sentence += f" of {counted(fitted.patients, 'patient')}"
    positives = _listed([f"{count:,} {name}" for name, count in fitted.positives.items()])
    return f"{sentence} (positive: {positives})." if positives else f"{sentence}."


def _people(fitted: Fitted) -> str:
    parts = []
    if fitted.leads:
        parts.append(f"lead {_listed(list(fitted.leads))}")
    if fitted.sample_rate_hz is not None:
        low_hz, high_hz = fitted.sample_rate_hz
        parts.append(f"{low_hz:g} Hz" if low_hz == high_hz else f"{low_hz:g} to {high_hz:g} Hz")
    if fitted.age_years is not None:
        low_years, high_years = fitted.age_years
        parts.append(f"ages of {low_years:g} to {high_years:g} years")
    if not parts:
        return ""
    return f"They have {', '.join(parts)}; answers to others are flagged."


def _intervals(head: Head) -> str:
    if head.coverage is None:
        return "Its values have no intervals."
    return (
        f"Intervals are meant to hold the true value in {head.coverage:.0%} of the recordings of "
        "people like those."
    )


def _classification(head: Head) -> list[str]:
    calibrated = "Probabilities are not calibrated."
    if head.calibration is not None:
        calibrated = f"Probabilities are calibrated ({head.calibration.kind})."
    if head.prevalence is not None:
        pairs = zip(head.names, head.prevalence, strict=True)
        assumed = _listed([f"{value:.3g} for {name}" for name, value in pairs])
        calibrated += f" They assume a prevalence of {assumed}, which --prevalence corrects."
    if head.kind == "multiclass":
        return [calibrated, "The decision is the most probable class."]
    if head.threshold is None:
        return [calibrated, "The head has no thresholds, so it makes no decisions."]
    return [calibrated]


def _listed(texts: list[str]) -> str:
    rest = len(texts) - _MOST_NAMES
    return ", ".join([*texts[:_MOST_NAMES], *([f"and {rest} more"] if rest > 0 else [])])
