"""Predicts labelled recordings by heads that were not fitted to their patients.

The folds, the penalties and the predictions are those of `evaluate --cross-validate`.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses

import numpy as np

from clef_jax.errors import UserError, counted
from clef_jax.evaluation import linear
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.evaluation.prediction import NUM_FOLDS
from clef_jax.fitting import method
from clef_jax.fitting.method import Method

_MOST_SEEDS = 50
"""Number of seeds that are tried for folds outside which every output varies."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidated:
    """Predictions of all recordings by cross-validation."""

    fold: np.ndarray
    """Fold of each recording, int [N]."""
    logits: np.ndarray
    """Outputs of the heads before the sigmoid or softmax, [N, K]: values of a regression."""
    predicted: np.ndarray
    """Probabilities that are not calibrated, or values of a regression, [N, K]."""
    strength: np.ndarray
    """Penalty of each output, [K]; NaN if it differs between folds."""


def make_folds(examples: Examples, kind: str, seed: int) -> tuple[np.ndarray, int]:
    """Returns the fold of each recording, int [N], by patient, and the seed that gave them.

    The folds are those of `evaluate` with the same seed, or with the first later seed with which
    every output has different targets outside of each fold.

    Raises:
        UserError: there are fewer patients than folds, or no seed gives such folds.
    """
    num_patients = len(np.unique(examples.patient))
    if num_patients < NUM_FOLDS:
        raise UserError(
            f"The labelled recordings are of {counted(num_patients, 'patient')}, but "
            f"cross-validation by patient needs at least {NUM_FOLDS}; label recordings of more "
            "patients.",
            problem="one_patient" if num_patients == 1 else "few_patients",
        )
    for number in range(seed, seed + _MOST_SEEDS):
        fold = folds(examples.patient, NUM_FOLDS, number)
        outside = [examples.target[fold != part] for part in np.unique(fold)]
        if all((target != target[:1]).any(axis=0).all() for target in outside):
            return fold, number
    raise UserError(
        "No division of the patients leaves different labels outside of each fold: too few "
        f"patients have the rarer label of a {kind} output. Label more of them.",
        problem="too_few_positives",
    )


def predict(
    kind: str, examples: Examples, fold: np.ndarray, *, fit: Method | None = None, seed: int = 0
) -> CrossValidated:
    """Returns the prediction of each recording by a head that was fitted to the other folds.

    Args:
        kind: kind of the head.
        examples: recordings with features and targets.
        fold: fold of each recording, int [N].
        fit: fits a head; by default a linear one to one group of features.
        seed: seed of the folds within which settings are selected.
    """
    fit = fit or method.linear()
    logits = np.full(examples.target.shape, np.nan)
    strengths = []
    for number in np.unique(fold):
        fitted = fit(kind, examples.at(fold != number), seed)
        logits[fold == number] = fitted.logits(examples.features[fold == number])
        strengths.append(fitted.strength)
    equal = (np.array(strengths) == strengths[0]).all(axis=0)
    return CrossValidated(
        fold=fold,
        logits=logits,
        predicted=linear.to_predictions(kind, logits),
        strength=np.where(equal, strengths[0], np.nan),
    )
