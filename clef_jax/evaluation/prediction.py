"""Predicts the targets of a task from the features of a model.

A data set without a test split is predicted by cross-validation: every patient once, by a probe
that was not fitted to the patient.

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
from clef_jax.evaluation.examples import Examples, folds, sample_patients
from clef_jax.tasks import Task

NUM_FOLDS = 5
"""Folds of the cross-validation, for data sets without a test split."""

Fit = Callable[..., probe.Probe]
"""Maps kind, training and validation examples (or None) and `seed=` to a probe, as `probe.fit`."""

Layers = Mapping[str, Callable[[Embedded], np.ndarray]]
"""Functions, by the name of a layer, that return the features [N, D] of a split; NaN where there
are none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HoldOut:
    """Tests on the recordings whose label has a value, in any split."""

    label: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "HoldOut":
        """Parses LABEL=NUMBER.

        Raises:
            UserError: the text has another form.
        """
        label, _, value = text.partition("=")
        try:
            return cls(label=label.strip(), value=float(value))
        except ValueError as error:
            words = f"--hold-out={text} must be LABEL=NUMBER, such as strat_fold=8."
            raise UserError(words) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How probes are fitted and tested."""

    fit: Fit = probe.fit
    label_fraction: float = 1.0
    """Fraction of the training patients whose labels are used."""
    hold_out: HoldOut | None = None
    cross_validate: bool = False
    """Whether all splits are pooled and every patient predicted, unless something is held out."""
    seed: int = 0
    """Selects the folds and the patients whose labels are used."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for recordings that the probe was not fitted to."""

    outputs: tuple[str, ...]
    target: np.ndarray
    """float64 [N, K]."""
    predicted: np.ndarray
    """float64 [N, K]: probabilities, or values of a regression."""
    decided: np.ndarray
    """float64 [N, K]: 1 where a class is predicted to be present; NaN in a regression."""
    patient: np.ndarray
    """int64 [N]."""
    age_years: np.ndarray
    male: np.ndarray
    strength: np.ndarray
    """[K], the chosen setting of the probe; NaN where folds chose different ones."""
    layer: str
    """Layer of the features; several, separated by commas, where folds chose different ones."""
    num_train: int
    """Recordings that the probe, or the largest of several, was fitted to."""
    cross_validated: bool
    num_left_out: int
    """Test recordings without a target or without a usable lead."""


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
    """Recordings with features and a target."""

    features: dict[str, np.ndarray]
    """Features [N, D] of each layer."""
    target: np.ndarray
    patient: np.ndarray
    age_years: np.ndarray
    male: np.ndarray
    held_out: np.ndarray
    """bool [N]."""
    num_left_out: int

    def __len__(self) -> int:
        return len(self.target)

    def at(self, chosen: np.ndarray) -> "Subset":
        """Returns the recordings of a mask; `num_left_out` stays as it is."""
        features = {name: values[chosen] for name, values in self.features.items()}
        columns = (self.target, self.patient, self.age_years, self.male, self.held_out)
        target, patient, age_years, male, held_out = (column[chosen] for column in columns)
        return Subset(features, target, patient, age_years, male, held_out, self.num_left_out)

    def examples(self, layer: str) -> Examples:
        return Examples(self.features[layer], self.target, self.patient)


def predict(
    task: Task, splits: Mapping[str, Embedded], layers: Layers, protocol: Protocol
) -> Predictions:
    """Fits probes and predicts the test recordings, or all recordings by cross-validation.

    With several layers, the one with the lowest validation loss is used.

    Args:
        splits: the embedded splits of the task's data set.

    Raises:
        UserError: the data set does not fit the task, or has nothing to fit a probe to.
    """
    if TRAIN not in splits:
        raise UserError(
            f"The data of the task {task.name} has no split {TRAIN!r} to learn from.",
            problem="no_training_split",
        )
    metadata = index_lib.read_metadata(splits[TRAIN].index.version_dir)
    outputs = tasks.outputs_of(task, metadata)
    parts = {
        split: _subset(task, metadata, embedded, layers, number, protocol.hold_out)
        for number, (split, embedded) in enumerate(splits.items())
    }
    if any(part.held_out.any() for part in parts.values()):
        parts = _held_out(parts)
    tested = parts.get(TEST)
    pooled = protocol.cross_validate and not (tested is not None and tested.held_out.any())
    if tested is not None and len(tested) and not pooled:
        chosen = _fit(task, parts[TRAIN], parts.get(VALIDATION), protocol)
        return _predictions(
            outputs, tested, chosen.predict(tested), [chosen], cross_validated=False
        )
    whole = _concatenate(list(parts.values()))
    if not len(whole):
        raise UserError(
            f"No recording of the task {task.name} has a target and usable features.",
            problem="no_targets",
        )
    fold = folds(whole.patient, NUM_FOLDS, protocol.seed)
    predicted, used = np.full((2, *whole.target.shape), np.nan), []
    for number in np.unique(fold):
        chosen = _fit(task, whole.at(fold != number), None, protocol)
        predicted[:, fold == number] = chosen.predict(whole.at(fold == number))
        used.append(chosen)
    return _predictions(outputs, whole, predicted, used, cross_validated=True)


def _subset(
    task: Task,
    metadata: Mapping[str, Any],
    embedded: Embedded,
    layers: Layers,
    split_number: int,
    hold_out: HoldOut | None = None,
) -> Subset:
    """Returns the recordings of a split that have a target and features."""
    target = tasks.targets(task, metadata, embedded.facts)
    features = {name: values(embedded) for name, values in layers.items()}
    kept = np.asarray(~np.isnan(target).any(axis=1))
    for values in features.values():
        kept &= np.asarray(np.isfinite(values).all(axis=1))
    facts = [fact for fact, is_kept in zip(embedded.facts, kept, strict=True) if is_kept]

    def column(name: str) -> np.ndarray:
        return np.array([fact[name] for fact in facts], float)

    has_label = hold_out is not None and hold_out.label in {x["name"] for x in metadata["labels"]}
    return Subset(
        {name: np.asarray(values[kept], np.float32) for name, values in features.items()},
        target[kept].astype(float),
        # Patients of different splits are different people.
        embedded.index.patient[kept] + (split_number << 40),
        column("age_years"),
        column("male"),
        column(hold_out.label) == hold_out.value
        if hold_out and has_label
        else np.zeros(len(facts), bool),
        int((~kept).sum()),
    )


def _held_out(parts: dict[str, Subset]) -> dict[str, Subset]:
    """Returns the held out recordings as the test split, and the others of training and validation
    as the training split."""
    whole = _concatenate(list(parts.values()))
    learned = _concatenate([part for split, part in parts.items() if split in (TRAIN, VALIDATION)])
    # No probe is fitted to a patient who has held out recordings.
    tested = np.unique(whole.patient[whole.held_out])
    return {
        TRAIN: learned.at(~np.isin(learned.patient, tested)),
        TEST: whole.at(whole.held_out),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class _LayerProbe:
    """The probe of the layer with the lowest validation loss."""

    layer: str
    probe: probe.Probe
    kind: str
    num_train: int

    def predict(self, part: Subset) -> np.ndarray:
        """Returns predictions and decisions, [2, N, K]."""
        predicted = self.probe(part.features[self.layer])
        if self.kind == "multiclass":
            decided = np.eye(predicted.shape[1])[predicted.argmax(axis=1)]
        elif self.kind == "regression":
            decided = np.full_like(predicted, np.nan)
        else:
            decided = (predicted >= self.probe.threshold).astype(float)
        return np.stack([predicted, decided])


def _fit(task: Task, train: Subset, validation: Subset | None, protocol: Protocol) -> _LayerProbe:
    labelled = train
    if protocol.label_fraction < 1:
        labelled = train.at(sample_patients(train.patient, protocol.label_fraction, protocol.seed))
    fitted = [
        _LayerProbe(
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
    return min(fitted, key=lambda chosen: chosen.probe.validation_loss)


def _predictions(
    outputs: tuple[str, ...],
    part: Subset,
    predicted: np.ndarray,
    used: list[_LayerProbe],
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


def _concatenate(parts: list[Subset]) -> Subset:
    def join(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    return Subset(
        {name: join([part.features[name] for part in parts]) for name in parts[0].features},
        join([part.target for part in parts]),
        join([part.patient for part in parts]),
        join([part.age_years for part in parts]),
        join([part.male for part in parts]),
        join([part.held_out for part in parts]),
        sum(part.num_left_out for part in parts),
    )
