"""Joins labels and recordings: which rows are used, and their features.

Shapes: N used rows, K outputs, D features.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import rich.console

from clef_jax.csv_file import Note
from clef_jax.embedding.encoder import Encoder
from clef_jax.errors import UserError, counted
from clef_jax.finding import Defect, Finding
from clef_jax.fitting import features as features_lib, matching
from clef_jax.fitting.features import Features, Listing
from clef_jax.fitting.labels import Labels
from clef_jax.fitting.matching import Assigned
from clef_jax.fitting.source import Source

MIN_PATIENTS = 5
"""Smallest number of patients with, and of patients without, each yes-or-no label or class."""
FEW_PATIENTS = 20
"""Number of patients below which a warning says that scores are uncertain."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Labelled recordings with features."""

    kind: str
    """Kind of the head; see `embedding.head.KINDS`."""
    outputs: tuple[str, ...]
    target: np.ndarray
    """Targets without missing values, float64 [N, K]."""
    patient: np.ndarray
    """Number of each recording's patient, int [N]."""
    age_years: np.ndarray
    """Ages, [N]; NaN where unknown."""
    male: np.ndarray
    """1 for men and 0 for women, [N]; NaN where unknown."""
    features: Mapping[str, np.ndarray]
    """Features, float32 [N, D], by the name of their encoder."""
    leads: tuple[str, ...]
    """Names of the leads that were used."""
    sample_rate_hz: np.ndarray
    """Sampling rates of the recordings, [N]."""
    rows: tuple[Assigned, ...]
    """How each row of the labels, and each recording without a row, was used, or why not."""
    notes: tuple[Note, ...]

    knows_patients: bool
    """Whether the labels state the patients; otherwise each recording counts as another one."""

    @property
    def num_patients(self) -> int:
        return len(np.unique(self.patient))


def build(
    source: Source,
    labels: Labels,
    encoders: Mapping[str, tuple[Encoder, slice]],
    *,
    root: pathlib.Path | None = None,
    lead: str | None = None,
    console: rich.console.Console | None = None,
) -> Dataset:
    """Returns the labelled recordings with their features.

    Args:
        source: recordings.
        labels: labels of recordings.
        encoders: encoder and slice of its features by name.
        root: folder of the recordings, for absolute paths in the labels.
        lead: lead to use; see `source.with_one_lead`.
        console: shows progress if it is a terminal.

    Raises:
        UserError: no row can be used, or too few patients have one of the labels.
    """
    listing = features_lib.list_recordings(source)
    if not listing.recordings:
        first = next(iter(listing.findings.values()), None)
        reason = "" if first is None else f" {first.record_id}: {first.detail}"
        raise UserError(f"No recording could be read.{reason}", problem="no_recordings")
    names = [*listing.recordings, *_unread(listing)]
    rows = matching.assign(labels, matching.Index(names, root))
    rows = _excluded(rows, listing.findings)
    wanted = [row.recording for row in rows if row.used and row.recording is not None]
    computed = {
        name: features_lib.compute(encoder, part, source, wanted, lead, console)
        for name, (encoder, part) in encoders.items()
    }
    for of_encoder in computed.values():
        missing = [name for name in wanted if name not in of_encoder.by_name]
        rows = _excluded(rows, {name: _why(name, of_encoder) for name in missing})
    dataset = _joined(labels, rows, listing, computed, names)
    few = _check_patients(dataset)
    return dataclasses.replace(dataset, notes=(*dataset.notes, *few))


def _joined(
    labels: Labels,
    rows: list[Assigned],
    listing: Listing,
    computed: Mapping[str, Features],
    names: Sequence[str],
) -> Dataset:
    """Returns the rows that are used with what is known about their recordings.

    Args:
        names: names of all recordings, also of those that could not be read.

    Raises:
        UserError: no row can be used.
    """
    rows, kept_outputs, rare = _without_rare_classes(labels, rows)
    used = np.array([number for number, row in enumerate(rows) if row.used], int)
    _check_used(labels, rows, used)
    recordings = [str(rows[number].recording) for number in used]
    stated = [listing.recordings[name] for name in recordings]
    patients = labels.patients
    patient = recordings if patients is None else [patients[number] for number in used]
    of_main = next(iter(computed.values()))
    return Dataset(
        kind=labels.kind,
        outputs=tuple(labels.outputs[k] for k in kept_outputs),
        target=labels.target[used][:, kept_outputs],
        patient=np.unique(np.array(patient), return_inverse=True)[1],
        age_years=_first_known(labels.age_years[used], [x.age_years for x in stated]),
        male=_first_known(labels.male[used], [x.male for x in stated]),
        features={
            name: np.stack([of_encoder.by_name[recording] for recording in recordings])
            for name, of_encoder in computed.items()
        },
        leads=tuple(sorted({of_main.leads[recording] for recording in recordings})),
        sample_rate_hz=np.array([x.sample_rate_hz for x in stated]),
        rows=(*rows, *matching.without_row(names, rows)),
        knows_patients=patients is not None,
        notes=(*labels.notes, *matching.patient_notes(labels, rows), *rare),
    )


def _why(name: str, features: Features) -> Finding:
    """Returns why a recording has no features."""
    unknown = Defect("unreadable", "The recording could not be embedded.").finding(name)
    return features.findings.get(name, unknown)


def _unread(listing: Listing) -> list[str]:
    """Returns the names of files without any recording that can be read."""
    parents = {name.partition("#")[0] for name in listing.recordings}
    return [name for name in listing.findings if name not in parents | set(listing.recordings)]


def _excluded(rows: Sequence[Assigned], findings: Mapping) -> list[Assigned]:
    """Returns the rows; those of recordings with a finding are not used."""
    result = []
    for row in rows:
        finding = findings.get(row.recording) if row.used else None
        if finding is not None:
            row = dataclasses.replace(row, problem=finding.problem, detail=finding.detail)
        result.append(row)
    return result


def _without_rare_classes(
    labels: Labels, rows: list[Assigned]
) -> tuple[list[Assigned], list[int], list[Note]]:
    """Excludes rows of classes with too few patients; returns rows, kept outputs and notes."""
    outputs = list(range(len(labels.outputs)))
    if labels.kind != "multiclass":
        return rows, outputs, []
    patients: list[set[str]] = [set() for _ in outputs]
    for number, row in enumerate(rows):
        if row.used:
            patient = str(row.recording if labels.patients is None else labels.patients[number])
            patients[int(labels.target[number].argmax())].add(patient)
    kept = [k for k in outputs if len(patients[k]) >= MIN_PATIENTS]
    rare = [k for k in outputs if k not in kept]
    if not rare:
        return rows, outputs, []
    result = []
    for number, row in enumerate(rows):
        if row.used and int(labels.target[number].argmax()) in rare:
            detail = f"Its class has fewer than {MIN_PATIENTS} patients."
            row = dataclasses.replace(row, problem="rare_class", detail=detail)
        result.append(row)
    names = ", ".join(labels.outputs[k] for k in rare)
    detail = (
        f"{counted(len(rare), 'class')} with fewer than {MIN_PATIENTS} patients cannot be learned "
        f"and were left out: {names}. A recording of such a class will get another class."
    )
    return result, kept, [Note(problem="rare_class", detail=detail)]


def _first_known(first: np.ndarray, second: Sequence[float]) -> np.ndarray:
    return np.where(np.isnan(first), np.asarray(second, float), first)


def _check_used(labels: Labels, rows: Sequence[Assigned], used: np.ndarray) -> None:
    if len(used):
        return
    problems = ", ".join(f"{count:,} x {name}" for name, count in matching.counts(rows).items())
    first = next(row for row in rows if row.problem)
    raise UserError(
        f"None of {counted(len(labels.ids), 'row')} of the labels can be used ({problems}). For "
        f"example, {first.id!r}: {first.detail}",
        problem="no_rows_used",
    )


def _check_patients(dataset: Dataset) -> list[Note]:
    """Returns a note about labels that few patients have.

    Raises:
        UserError: all recordings are of one patient, or too few patients have a label.
    """
    if dataset.num_patients < MIN_PATIENTS:
        raise UserError(
            f"The {counted(len(dataset.target), 'usable labelled recording')} are of "
            f"{counted(dataset.num_patients, 'patient')}, but cross-validation by patient needs at "
            f"least {MIN_PATIENTS}; label recordings of more patients.",
            problem="one_patient" if dataset.num_patients == 1 else "few_patients",
        )
    if dataset.kind == "regression":
        constant = np.flatnonzero((dataset.target == dataset.target[:1]).all(axis=0))
        if len(constant):
            raise UserError(
                f"All usable recordings have the same {dataset.outputs[constant[0]]!r}, so nothing "
                "can be learned from it; add recordings with other values.",
                problem="one_class",
            )
        count, what = dataset.num_patients, "the labels"
    else:
        count, what = min(_fewest(dataset, k) for k in range(len(dataset.outputs)))
    if count >= FEW_PATIENTS:
        return []
    if dataset.kind != "regression" and count < MIN_PATIENTS:
        raise UserError(
            f"Only {counted(count, 'patient')} among the usable recordings have {what}, but at "
            f"least {MIN_PATIENTS} are needed; label more recordings, or omit it from --targets.",
            problem="too_few_positives" if count else "one_class",
        )
    detail = f"Only {counted(count, 'patient')} have {what}, so all scores are uncertain."
    return [Note(problem="few_patients", detail=detail)]


def _fewest(dataset: Dataset, output: int) -> tuple[int, str]:
    """Returns the smaller number of patients with or without an output, and which it is."""
    column, name = dataset.target[:, output], dataset.outputs[output]
    return min(
        (len(np.unique(dataset.patient[column == value])), f"{name!r} {word}")
        for value, word in ((1, "present"), (0, "absent"))
    )
