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
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import probe
from clef_jax.evaluation.examples import Examples, folds, some
from clef_jax.tasks import Task

NUM_FOLDS = 5
"""Of the cross-validation where there is no test split."""

Fit = Callable[..., probe.Probe]
"""Of (kind, train, validation or None, seed=), as `probe.fit`."""

Layers = Mapping[str, Callable[[Embedded], np.ndarray]]
"""By name the features [N, D] to use of a split; NaN where there are none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HoldOut:
    """Tests on the recordings whose label has a value, whatever their split."""

    label: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "HoldOut":
        """From LABEL=NUMBER.

        Raises:
            UserError: it is written otherwise.
        """
        label, _, value = text.partition("=")
        try:
            return cls(label=label.strip(), value=float(value))
        except ValueError as error:
            words = f"--hold-out={text} must be LABEL=NUMBER, such as strat_fold=8."
            raise UserError(words) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a question is put."""

    fit: Fit = probe.fit
    label_share: float = 1.0
    """Share of the training patients whose labels are known."""
    hold_out: HoldOut | None = None
    cross_validate: bool = False
    """Whether all splits are pooled and every patient predicted, unless something is held out."""
    seed: int = 0
    """Of the folds, and of who has labels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for recordings that no probe was fitted to."""

    outputs: tuple[str, ...]
    target: np.ndarray
    """float64 [N, K]."""
    predicted: np.ndarray
    """float64 [N, K]: probabilities, or values of a regression."""
    decided: np.ndarray
    """float64 [N, K]: 1 where a class is called present; NaN in a regression."""
    patient: np.ndarray
    """int64 [N]."""
    age_years: np.ndarray
    male: np.ndarray
    strength: np.ndarray
    """[K], the setting that was chosen; NaN where folds chose differently."""
    layer: str
    """Which features answered; several, by commas, where folds chose differently."""
    num_train: int
    """Recordings that the probe, or the largest of several, was fitted to."""
    cross_validated: bool
    num_left_out: int
    """Test recordings without an answer or without a usable lead."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Recordings that can be asked."""

    features: dict[str, np.ndarray]
    """Of each layer [N, D]."""
    target: np.ndarray
    patient: np.ndarray
    age_years: np.ndarray
    male: np.ndarray
    held_out: np.ndarray
    """bool [N]."""
    num_left_out: int

    def __len__(self) -> int:
        return len(self.target)

    def at(self, chosen: np.ndarray) -> "Part":
        """Some of the recordings; those left out stay counted."""
        features = {name: values[chosen] for name, values in self.features.items()}
        columns = (self.target, self.patient, self.age_years, self.male, self.held_out)
        target, patient, age_years, male, held_out = (column[chosen] for column in columns)
        return Part(features, target, patient, age_years, male, held_out, self.num_left_out)

    def examples(self, layer: str) -> Examples:
        return Examples(self.features[layer], self.target, self.patient)


def predict(
    task: Task, splits: Mapping[str, Embedded], layers: Layers, protocol: Protocol
) -> Predictions:
    """Fits probes and predicts. Of several layers the one with the lowest validation loss answers.

    Args:
        splits: the embedded splits of the task's data set.

    Raises:
        UserError: the data set does not fit the task, or there is nothing to learn from it.
    """
    if TRAIN not in splits:
        raise UserError(
            f"The data of the task {task.name} has no split {TRAIN!r} to learn from.",
            problem="no_training_split",
        )
    metadata = index_lib.read_metadata(splits[TRAIN].index.version_dir)
    outputs = tasks.outputs_of(task, metadata)
    parts = {
        split: part_of(task, metadata, one, layers, place, protocol.hold_out)
        for place, (split, one) in enumerate(splits.items())
    }
    if any(part.held_out.any() for part in parts.values()):
        parts = _held_out(parts)
    tested = parts.get(TEST)
    pooled = protocol.cross_validate and not (tested is not None and tested.held_out.any())
    if tested is not None and len(tested) and not pooled:
        chosen = _fit(task, parts[TRAIN], parts.get(VALIDATION), protocol)
        return _answers(outputs, tested, chosen.answer(tested), [chosen], cross_validated=False)
    whole = _joined(list(parts.values()))
    if not len(whole):
        raise UserError(
            f"No recording of the task {task.name} has a target and usable features.",
            problem="no_targets",
        )
    fold = folds(whole.patient, NUM_FOLDS, protocol.seed)
    predicted, used = np.full((2, *whole.target.shape), np.nan), []
    for number in np.unique(fold):
        chosen = _fit(task, whole.at(fold != number), None, protocol)
        predicted[:, fold == number] = chosen.answer(whole.at(fold == number))
        used.append(chosen)
    return _answers(outputs, whole, predicted, used, cross_validated=True)


def part_of(
    task: Task,
    metadata: Mapping[str, Any],
    one: Embedded,
    layers: Layers,
    place: int,
    hold_out: HoldOut | None = None,
) -> Part:
    """The recordings of a split, the `place`-th, that have an answer and features."""
    target = tasks.targets(task, metadata, one.facts)
    features = {name: values(one) for name, values in layers.items()}
    kept = np.asarray(~np.isnan(target).any(axis=1))
    for values in features.values():
        kept &= np.asarray(np.isfinite(values).all(axis=1))
    facts = [fact for fact, is_kept in zip(one.facts, kept, strict=True) if is_kept]

    def column(name: str) -> np.ndarray:
        return np.array([fact[name] for fact in facts], float)

    asked = hold_out is not None and hold_out.label in {x["name"] for x in metadata["labels"]}
    return Part(
        {name: np.asarray(values[kept], np.float32) for name, values in features.items()},
        target[kept].astype(float),
        # Patients of different splits are different people.
        one.index.patient[kept] + (place << 40),
        column("age_years"),
        column("male"),
        column(hold_out.label) == hold_out.value
        if hold_out and asked
        else np.zeros(len(facts), bool),
        int((~kept).sum()),
    )


def _held_out(parts: dict[str, Part]) -> dict[str, Part]:
    """The held out recordings are the test, and of the others those of the training remain."""
    whole = _joined(list(parts.values()))
    learned = _joined([part for split, part in parts.items() if split in (TRAIN, VALIDATION)])
    # A patient with recordings on both sides is tested, not learned from.
    tested = np.unique(whole.patient[whole.held_out])
    return {
        TRAIN: learned.at(~np.isin(learned.patient, tested)),
        TEST: whole.at(whole.held_out),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class _Chosen:
    """The probe of the layer that did best on validation."""

    layer: str
    probe: probe.Probe
    kind: str
    num_train: int

    def answer(self, part: Part) -> np.ndarray:
        """[2, N, K]: predictions and decisions."""
        predicted = self.probe(part.features[self.layer])
        if self.kind == "multiclass":
            decided = np.eye(predicted.shape[1])[predicted.argmax(axis=1)]
        elif self.kind == "regression":
            decided = np.full_like(predicted, np.nan)
        else:
            decided = (predicted >= self.probe.threshold).astype(float)
        return np.stack([predicted, decided])


def _fit(task: Task, train: Part, validation: Part | None, protocol: Protocol) -> _Chosen:
    labelled = train
    if protocol.label_share < 1:
        labelled = train.at(some(train.patient, protocol.label_share, protocol.seed))
    fitted = [
        _Chosen(
            layer,
            protocol.fit(
                task.kind,
                labelled.examples(layer),
                None if validation is None else validation.examples(layer),
                seed=protocol.seed,
            ),
            task.kind,
            len(labelled),
        )
        for layer in train.features
    ]
    return min(fitted, key=lambda one: one.probe.validation_loss)


def _answers(
    outputs: tuple[str, ...],
    part: Part,
    predicted: np.ndarray,
    used: list[_Chosen],
    *,
    cross_validated: bool,
) -> Predictions:
    strengths = np.array([one.probe.strength for one in used])
    return Predictions(
        outputs=outputs,
        target=part.target,
        predicted=predicted[0],
        decided=predicted[1],
        patient=part.patient,
        age_years=part.age_years,
        male=part.male,
        strength=np.where((strengths == strengths[0]).all(axis=0), strengths[0], np.nan),
        layer=", ".join(sorted({one.layer for one in used})),
        num_train=max(one.num_train for one in used),
        cross_validated=cross_validated,
        num_left_out=part.num_left_out,
    )


def _joined(parts: list[Part]) -> Part:
    def join(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    return Part(
        {name: join([part.features[name] for part in parts]) for name in parts[0].features},
        join([part.target for part in parts]),
        join([part.patient for part in parts]),
        join([part.age_years for part in parts]),
        join([part.male for part in parts]),
        join([part.held_out for part in parts]),
        sum(part.num_left_out for part in parts),
    )
