"""Predicts the targets of a task from the features of a model.

On a data set without a test split, all recordings are predicted by cross-validation: each patient's
by a probe that was not fitted to this patient.

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

_ROUNDING = 1e-6
"""Largest spread of constant predictions, relative to their size; it comes from rounding."""

NUM_FOLDS = 5
"""Number of folds of the cross-validation, for data sets without a test split."""

Fit = Callable[..., probe.Probe]
"""Maps kind, training and validation examples (or None) and `seed=` to a probe; see `probe.fit`."""

Layers = Mapping[str, Callable[[Embedded], np.ndarray]]
"""Functions, by the name of a layer, that map a split to its features [N, D], which are NaN where
the recording has no embedding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HoldOut:
    """Selects test recordings of any split: those whose label has one of the values."""

    label: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> "HoldOut":
        """Parses LABEL=NUMBER, or LABEL=NUMBER,NUMBER.

        Raises:
            UserError: the text has another form.
        """
        label, _, numbers = text.partition("=")
        try:
            return cls(label=label.strip(), values=tuple(map(float, numbers.split(","))))
        except ValueError as error:
            message = (
                f"--hold-out={text} must be LABEL=NUMBER or LABEL=NUMBER,NUMBER, such as "
                "strat_fold=8."
            )
            raise UserError(message) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Describes how probes are fitted and tested."""

    fit: Fit = probe.fit
    """Function that fits a probe."""
    label_fraction: float = 1.0
    """Fraction of the training patients whose labels are used."""
    hold_out: HoldOut | None = None
    """Test recordings; by default those of the test split."""
    cross_validate: bool = False
    """Whether to predict the recordings of all splits by cross-validation. It is ignored if test
    recordings are held out."""
    seed: int = 0
    """Seed of the folds, and of the patients whose labels are used."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for recordings that the probe was not fitted to."""

    outputs: tuple[str, ...]
    """Names of the outputs."""
    target: np.ndarray
    """Targets, float64 [N, K]."""
    predicted: np.ndarray
    """Probabilities, or values of a regression, float64 [N, K]."""
    decided: np.ndarray
    """1 where a class is predicted to be present, else 0, float64 [N, K]; NaN in a regression."""
    patient: np.ndarray
    """Number of each recording's patient, int64 [N]."""
    age_years: np.ndarray
    """Age of each recording's patient, [N]; NaN where unknown."""
    male: np.ndarray
    """1 for men and 0 for women, [N]; NaN where unknown."""
    strength: np.ndarray
    """Setting of the probe for each output, [K]; NaN if it differs between folds."""
    layer: str
    """Layer of the features; several, separated by commas, if it differs between folds."""
    num_train: int
    """Number of recordings to which the probe was fitted; the largest if there are several."""
    cross_validated: bool
    """Whether the predictions come from cross-validation."""
    num_excluded: int
    """Number of test recordings that are excluded without a target or a usable lead."""
    fold: np.ndarray | None = None
    """Number of the probe that predicted each recording, int [N]; None if one probe predicted all
    recordings."""

    @property
    def constant(self) -> np.ndarray:
        """Mask, bool [K], of the outputs that each probe predicts alike for all its recordings.

        Such a probe has learned nothing but the mean of the targets. Cross-validated predictions
        still differ between folds, because the means do.
        """
        fold = np.zeros(len(self.predicted), int) if self.fold is None else self.fold
        parts = [self.predicted[fold == number] for number in np.unique(fold)]
        several = [part for part in parts if len(part) > 1]
        spreads = [np.ptp(p, axis=0) <= _ROUNDING * np.abs(p).max(axis=0) for p in several]
        return np.all(spreads, axis=0) if spreads else np.zeros(self.predicted.shape[1], bool)


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
    """Recordings with features and targets; fields are as in `Predictions` if not described."""

    features: dict[str, np.ndarray]
    """Features [N, D] by layer."""
    target: np.ndarray
    patient: np.ndarray
    age_years: np.ndarray
    male: np.ndarray
    held_out: np.ndarray
    """Whether the protocol holds the recording out for testing, bool [N]."""
    num_excluded: int

    def __len__(self) -> int:
        return len(self.target)

    def at(self, selected: np.ndarray) -> "Subset":
        """Returns the recordings that a mask selects; `num_excluded` does not change."""
        features = {name: values[selected] for name, values in self.features.items()}
        columns = (self.target, self.patient, self.age_years, self.male, self.held_out)
        target, patient, age_years, male, held_out = (column[selected] for column in columns)
        return Subset(features, target, patient, age_years, male, held_out, self.num_excluded)

    def examples(self, layer: str) -> Examples:
        """Returns the recordings as examples with the features of a layer."""
        return Examples(self.features[layer], self.target, self.patient)


def predict(
    task: Task, splits: Mapping[str, Embedded], layers: Layers, protocol: Protocol
) -> Predictions:
    """Fits probes and predicts the test recordings, or all recordings by cross-validation.

    If there are several layers, the layer with the lowest validation loss is used.

    Args:
        task: Task.
        splits: Embedded splits of the task's data set.
        layers: Layers whose features are tried.
        protocol: How to fit and test.

    Raises:
        UserError: the data set does not fit the task, or has no recordings to fit a probe to.
    """
    division = divide(task, splits, layers, protocol)
    test = division.test
    if test is not None:
        best = fit(task, division.train, division.validation, protocol)
        predicted = best.predict(test)
        return _predictions(division.outputs, test, predicted, [best], cross_validated=False)
    whole = division.train
    fold = folds(whole.patient, NUM_FOLDS, protocol.seed)
    predicted, probes = np.full((2, *whole.target.shape), np.nan), []
    for number in np.unique(fold):
        best = fit(task, whole.at(fold != number), None, protocol)
        predicted[:, fold == number] = best.predict(whole.at(fold == number))
        probes.append(best)
    pooled = _predictions(division.outputs, whole, predicted, probes, cross_validated=True)
    return dataclasses.replace(pooled, fold=fold)


@dataclasses.dataclass(frozen=True, eq=False)
class Division:
    """Recordings of a task by what they are used for."""

    outputs: tuple[str, ...]
    """Names of the outputs."""
    train: Subset
    """Training recordings, or all of them if they are predicted by cross-validation."""
    validation: Subset | None
    """Recordings on which settings are selected; by default within the training patients."""
    test: Subset | None
    """Test recordings; None for cross-validation."""


def divide(
    task: Task, splits: Mapping[str, Embedded], layers: Layers, protocol: Protocol
) -> Division:
    """Returns the recordings of a task as `predict` uses them; arguments and errors are its."""
    if TRAIN not in splits:
        raise UserError(
            f"The data set of the task {task.name} has no split {TRAIN!r}, which is needed to fit "
            "a probe.",
            problem="no_training_split",
        )
    metadata = index_lib.read_metadata(splits[TRAIN].index.version_dir)
    outputs = tasks.outputs_of(task, metadata)
    subsets = {
        split: subset(task, metadata, embedded, layers, number, protocol.hold_out)
        for number, (split, embedded) in enumerate(splits.items())
    }
    if any(subset.held_out.any() for subset in subsets.values()):
        subsets = _held_out(subsets)
    test = subsets.get(TEST)
    pools = protocol.cross_validate and not (test is not None and test.held_out.any())
    if test is not None and len(test) and not pools:
        return Division(outputs, subsets[TRAIN], subsets.get(VALIDATION), test)
    whole = concatenate(list(subsets.values()))
    if not len(whole):
        raise UserError(
            f"No recording of the task {task.name} has a target and usable features.",
            problem="no_targets",
        )
    return Division(outputs, whole, None, None)


def subset(
    task: Task,
    metadata: Mapping[str, Any],
    embedded: Embedded,
    layers: Layers,
    split_number: int,
    hold_out: HoldOut | None = None,
) -> Subset:
    """Returns the recordings of a split that have a target and features."""
    target = tasks.targets(task, metadata, embedded.metadata)
    features = {name: values(embedded) for name, values in layers.items()}
    kept = np.asarray(~np.isnan(target).any(axis=1))
    for values in features.values():
        kept &= np.asarray(np.isfinite(values).all(axis=1))
    records = [record for record, is_kept in zip(embedded.metadata, kept, strict=True) if is_kept]

    def column(name: str) -> np.ndarray:
        return np.array([record[name] for record in records], float)

    has_label = hold_out is not None and hold_out.label in {x["name"] for x in metadata["labels"]}
    return Subset(
        {name: np.asarray(values[kept], np.float32) for name, values in features.items()},
        target[kept].astype(float),
        # Patients are numbered within a split, and no patient is in two splits.
        embedded.index.patient[kept] + (split_number << 40),
        column("age_years"),
        column("male"),
        np.isin(column(hold_out.label), hold_out.values)
        if hold_out and has_label
        else np.zeros(len(records), bool),
        int((~kept).sum()),
    )


def _held_out(subsets: dict[str, Subset]) -> dict[str, Subset]:
    """Returns the held out recordings as the test split, and the others of training and validation
    as the training split."""
    whole = concatenate(list(subsets.values()))
    train = concatenate([subsets[split] for split in subsets if split in (TRAIN, VALIDATION)])
    # No probe is fitted to a patient who has held out recordings.
    test_patients = np.unique(whole.patient[whole.held_out])
    return {
        TRAIN: train.at(~np.isin(train.patient, test_patients)),
        TEST: whole.at(whole.held_out),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class LayerProbe:
    """A probe that is fitted to the features of a layer."""

    layer: str
    probe: probe.Probe
    kind: str
    num_train: int

    def predict(self, subset: Subset) -> np.ndarray:
        """Returns predictions and decisions, [2, N, K]; see `Predictions`."""
        predicted = self.probe(subset.features[self.layer])
        if self.kind == "multiclass":
            decided = np.eye(predicted.shape[1])[predicted.argmax(axis=1)]
        elif self.kind == "regression":
            decided = np.full_like(predicted, np.nan)
        else:
            decided = (predicted >= self.probe.threshold).astype(float)
        return np.stack([predicted, decided])


def fit(task: Task, train: Subset, validation: Subset | None, protocol: Protocol) -> LayerProbe:
    """Returns the probe of the layer with the lowest validation loss."""
    labelled = train
    if protocol.label_fraction < 1:
        labelled = train.at(sample_patients(train.patient, protocol.label_fraction, protocol.seed))
    fitted = [
        LayerProbe(
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
    return min(fitted, key=lambda layer_probe: layer_probe.probe.validation_loss)


def _predictions(
    outputs: tuple[str, ...],
    subset: Subset,
    predicted: np.ndarray,
    probes: list[LayerProbe],
    *,
    cross_validated: bool,
) -> Predictions:
    strengths = np.array([fitted.probe.strength for fitted in probes])
    return Predictions(
        outputs=outputs,
        target=subset.target,
        predicted=predicted[0],
        decided=predicted[1],
        patient=subset.patient,
        age_years=subset.age_years,
        male=subset.male,
        strength=np.where((strengths == strengths[0]).all(axis=0), strengths[0], np.nan),
        layer=", ".join(sorted({fitted.layer for fitted in probes})),
        num_train=max(fitted.num_train for fitted in probes),
        cross_validated=cross_validated,
        num_excluded=subset.num_excluded,
    )


def concatenate(subsets: list[Subset]) -> Subset:
    """Returns the recordings of several subsets."""

    def join(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    return Subset(
        {name: join([s.features[name] for s in subsets]) for name in subsets[0].features},
        join([subset.target for subset in subsets]),
        join([subset.patient for subset in subsets]),
        join([subset.age_years for subset in subsets]),
        join([subset.male for subset in subsets]),
        join([subset.held_out for subset in subsets]),
        sum(subset.num_excluded for subset in subsets),
    )
