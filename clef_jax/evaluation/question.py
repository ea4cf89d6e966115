"""A task put to a model: features and answers of the training, validation and test recordings.

Where a data set was prepared without a test split, the answers are predicted by cross-validation:
every patient once, by a probe that never saw the patient.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clef_jax import tasks
from clef_jax.data import index as index_lib
from clef_jax.data.listing import TEST, TRAIN, VALIDATION
from clef_jax.errors import UserError
from clef_jax.evaluation import probe
from clef_jax.evaluation.embedding import Embedded
from clef_jax.evaluation.probe import Examples
from clef_jax.tasks import Task

NUM_FOLDS = 5
"""Of the cross-validation where there is no test split."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What was predicted for recordings that no probe was fitted to."""

    outputs: tuple[str, ...]
    target: np.ndarray
    """float64 [N, K]."""
    predicted: np.ndarray
    """float64 [N, K]: probabilities, or values of a regression."""
    patient: np.ndarray
    """int64 [N]."""
    age_years: np.ndarray
    male: np.ndarray
    strength: np.ndarray
    """[K], the penalty that was chosen; NaN where folds chose differently."""
    cross_validated: bool
    num_left_out: int
    """Test recordings without an answer or without a usable lead."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The recordings of one split that can be asked."""

    examples: Examples
    age_years: np.ndarray
    male: np.ndarray
    num_left_out: int


def ask(
    task: Task,
    splits: Mapping[str, Embedded],
    features_of: Callable[[Embedded], np.ndarray],
    *,
    seed: int = 0,
) -> Answers:
    """Fits probes and predicts.

    Args:
        splits: the embedded splits of the task's data set.
        features_of: the features [N, D] to use of a split; NaN where there are none.

    Raises:
        UserError: the data set does not fit the task, or there is nothing to learn from it.
    """
    if TRAIN not in splits:
        raise UserError(f"The data of the task {task.name} has no split {TRAIN!r} to learn from.")
    metadata = index_lib.read_metadata(splits[TRAIN].index.version_dir)
    outputs = tasks.outputs_of(task, metadata)
    parts = {
        split: _part(task, metadata, one, features_of(one), place)
        for place, (split, one) in enumerate(splits.items())
    }
    if TEST in parts and len(parts[TEST].examples):
        return _on_test(task, outputs, parts, seed)
    return _cross_validated(task, outputs, parts, seed)


def _part(
    task: Task, metadata: Mapping[str, Any], one: Embedded, features: np.ndarray, place: int
) -> Part:
    target = tasks.targets(task, metadata, one.facts)
    asked = ~np.isnan(target).any(axis=1)
    kept = asked & np.asarray(np.isfinite(features).all(axis=1))
    # Patients of different splits are different people.
    patient = one.index.patient + (place << 40)
    facts = [fact for fact, is_kept in zip(one.facts, kept, strict=True) if is_kept]
    return Part(
        Examples(np.asarray(features[kept], np.float32), target[kept].astype(float), patient[kept]),
        np.array([fact["age_years"] for fact in facts], float),
        np.array([fact["male"] for fact in facts], float),
        int((~kept).sum()),
    )


def _on_test(task: Task, outputs: tuple[str, ...], parts: Mapping[str, Part], seed: int) -> Answers:
    validation = parts[VALIDATION].examples if VALIDATION in parts else None
    fitted = probe.fit(task.kind, parts[TRAIN].examples, validation, seed=seed)
    test = parts[TEST]
    return Answers(
        outputs=outputs,
        target=test.examples.target,
        predicted=fitted(test.examples.features),
        patient=test.examples.patient,
        age_years=test.age_years,
        male=test.male,
        strength=fitted.strength,
        cross_validated=False,
        num_left_out=test.num_left_out,
    )


def _cross_validated(
    task: Task, outputs: tuple[str, ...], parts: Mapping[str, Part], seed: int
) -> Answers:
    """Predicts training and validation recordings, each by a probe of the other folds."""
    whole = _joined(list(parts.values()))
    examples = whole.examples
    if not len(examples):
        raise UserError(f"No recording of the task {task.name} has a target and usable features.")
    fold = probe.folds(examples.patient, NUM_FOLDS, seed)
    predicted = np.full(examples.target.shape, np.nan)
    strengths = []
    for number in np.unique(fold):
        fitted = probe.fit(task.kind, examples.at(fold != number), seed=seed)
        predicted[fold == number] = fitted(examples.features[fold == number])
        strengths.append(fitted.strength)
    same = (np.array(strengths) == strengths[0]).all(axis=0)
    return Answers(
        outputs=outputs,
        target=examples.target,
        predicted=predicted,
        patient=examples.patient,
        age_years=whole.age_years,
        male=whole.male,
        strength=np.where(same, strengths[0], np.nan),
        cross_validated=True,
        num_left_out=whole.num_left_out,
    )


def _joined(parts: list[Part]) -> Part:
    def join(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    return Part(
        Examples(
            join([part.examples.features for part in parts]),
            join([part.examples.target for part in parts]),
            join([part.examples.patient for part in parts]),
        ),
        join([part.age_years for part in parts]),
        join([part.male for part in parts]),
        sum(part.num_left_out for part in parts),
    )
