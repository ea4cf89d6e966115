"""Compares an ONNX file of fewer bits with the exact one, and rejects it if they disagree.

Shapes: N windows, D embedding, K outputs of the head.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clef_jax.convert import onnx_session
from clef_jax.convert.exported_head import PROBABILITIES, VALUES
from clef_jax.errors import UserError, counted

LEAST_CENTRED_COSINE = 0.99
"""Smallest cosine of a window's embeddings, without the mean, at which a file is kept."""
MOST_FLIPPED = 0.01
"""Largest fraction of decisions that may differ."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well the outputs of a file agree with those of the exact one."""

    num_windows: int
    smallest_cosine: float
    """Smallest cosine between an embedding and its exact counterpart."""
    smallest_centred_cosine: float
    """The same cosine after the mean of the exact embeddings is subtracted from both."""
    largest_difference: float
    """Largest difference of any feature."""
    relative_difference: float
    """Root mean square of the differences of the features, relative to the deviation of the exact
    embeddings from their mean."""
    largest_answer_difference: float | None
    """Largest difference of an answer; None without a head."""
    flipped: float | None
    """Fraction of decisions that differ; None if the head makes none."""


def compare(exact: pathlib.Path, other: pathlib.Path, windows: Iterable[np.ndarray]) -> Agreement:
    """Compares two files on windows, float32 [N, L, T] in batches, as the files take them."""
    sessions = [onnx_session.session(path) for path in (exact, other)]
    given = sessions[0].get_inputs()[0]
    names = [output.name for output in sessions[0].get_outputs()]
    wanted = [name for name in names if name in ("embedding", PROBABILITIES, VALUES)]
    results: list[tuple[list[np.ndarray], ...]] = []
    for batch in windows:
        signal = batch if len(given.shape) == 3 else batch[:, 0]
        results.append(tuple(opened.run(wanted, {given.name: signal}) for opened in sessions))
    (expected, *answers), (actual, *other_answers) = (
        [np.concatenate(parts) for parts in zip(*column, strict=True)]
        for column in zip(*results, strict=True)
    )
    about = head_of(sessions[0].get_modelmeta().custom_metadata_map)
    mean = expected.mean(axis=0)
    return Agreement(
        num_windows=len(expected),
        smallest_cosine=_smallest_cosine(expected, actual),
        smallest_centred_cosine=_smallest_cosine(expected - mean, actual - mean),
        largest_difference=float(np.abs(actual - expected).max()),
        relative_difference=_rms(actual - expected) / max(_rms(expected - mean), 1e-30),
        largest_answer_difference=float(np.abs(other_answers[0] - answers[0]).max())
        if answers
        else None,
        flipped=flipped(about, answers[0], other_answers[0]) if answers else None,
    )


def head_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Returns the description of the head in the metadata of a file; empty without a head."""
    return json.loads(metadata["head"]) if "head" in metadata else {}


def require(found: Agreement, name: str) -> None:
    """Raises UserError if a file disagrees with the exact one by too much.

    Args:
        name: name of the file.
    """
    reasons = []
    # Comparisons that NaN fails.
    if not found.smallest_centred_cosine >= LEAST_CENTRED_COSINE:
        reasons.append(
            "the smallest cosine between an embedding and the 32-bit one is "
            f"{found.smallest_centred_cosine:.4f} after their mean is subtracted, below "
            f"{LEAST_CENTRED_COSINE}"
        )
    if found.flipped is not None and not found.flipped <= MOST_FLIPPED:
        reasons.append(
            f"{100 * found.flipped:.1f} % of the head's decisions differ, more than "
            f"{100 * MOST_FLIPPED:.0f} %"
        )
    if reasons:
        raise UserError(
            f"{name} was not written: on {counted(found.num_windows, 'window')} "
            f"{', and '.join(reasons)}. Use the 32-bit file, or more bits.",
            problem="quantised_differs",
        )


def flipped(about: Mapping[str, Any], some: np.ndarray, others: np.ndarray) -> float | None:
    """Returns the fraction of decisions that differ: those of thresholds, or the largest class."""
    if about.get("decision") == "largest":
        return float((some.argmax(axis=1) != others.argmax(axis=1)).mean())
    if "thresholds" not in about:
        return None
    threshold = np.array(about["thresholds"])
    # Not a number is no decision, so that it differs from any.
    return float(((some >= threshold) != (others >= threshold)).mean() if _finite(others) else 1.0)


def _finite(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all())


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def _smallest_cosine(some: np.ndarray, others: np.ndarray) -> float:
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return float(((some * others).sum(axis=1) / norms).min())
