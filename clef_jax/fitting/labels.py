"""Turns a table of labels into targets: which column names the recordings, which the patients, and
what the others mean.

Shapes: N rows, K outputs.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import plugin
from clef_jax.csv_file import Note, Table
from clef_jax.errors import UserError, WrongArgument, counted, printable
from clef_jax.fitting import column as column_lib
from clef_jax.fitting.column import BINARY, CLASSES, MISSING, NUMBERS, Column

ID_COLUMNS = ("file", "path", "record", "record_id", "id")
"""Names, in lower case, of columns that name the recordings; the first that exists is used."""
PATIENT_COLUMNS = ("patient", "patient_id")
"""Names, in lower case, of columns that name the patients."""
_AGE_COLUMNS, _SEX_COLUMNS = ("age", "age_years"), ("sex", "gender")
_MALE, _FEMALE = {"m", "male", "man"}, {"f", "female", "woman", "w"}
_KINDS = {BINARY: "multilabel", NUMBERS: "regression"}
"""Kind of a head for several columns of a kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Columns to use, and their kinds."""

    id_column: str | None = None
    """Column that names the recordings; by default the first of `ID_COLUMNS`."""
    patient_column: str | None = None
    """Column that names the patients; by default the first of `PATIENT_COLUMNS`."""
    targets: tuple[str, ...] = ()
    """Columns to predict; by default all others."""
    classes: tuple[str, ...] = ()
    """Columns whose numbers are names of classes."""
    positive: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Classes of a column that count as yes, while all others count as no."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Targets of the rows of a table."""

    ids: tuple[str, ...]
    """Texts that name the recordings, [N]."""
    lines: tuple[int, ...]
    """Line of each row in its file, [N]."""
    patients: tuple[str, ...] | None
    """Patient of each row, empty where blank, [N]; None without such a column."""
    kind: str
    """Kind of the head; see `embedding.head.KINDS`."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    columns: tuple[str, ...]
    """Names of the columns that are predicted."""
    target: np.ndarray
    """Targets, float64 [N, K]; NaN where a label is missing."""
    age_years: np.ndarray
    """Ages that the table states, [N]; NaN where unknown."""
    male: np.ndarray
    """1 for men and 0 for women, as the table states, [N]; NaN where unknown."""
    notes: tuple[Note, ...]


def interpret(table: Table, choice: Choice) -> Labels:
    """Returns the targets of a table.

    Raises:
        UserError: a column is missing or cannot be used; the message names it and says what to do.
    """
    id_column = _id_column(table, choice.id_column)
    patient_column = _patient_column(table, choice.patient_column)
    columns, notes = _columns(table, choice, {id_column, patient_column})
    kind, outputs, target = _combined(columns)
    notes = [*table.notes, *notes, *(note for column in columns for note in column.notes)]
    patients = tuple(table.column(patient_column)) if patient_column else None
    if patients is None:
        detail = (
            "The labels have no column patient or patient_id, so each recording counts as another "
            "patient. If a patient has several recordings, some of them are in training when "
            "another is tested, and the scores are too good; name the column by --patient-column."
        )
        notes.append(Note(problem="no_patient_column", detail=detail))
    return Labels(
        ids=tuple(table.column(id_column)),
        lines=table.lines,
        patients=patients,
        kind=kind,
        outputs=outputs,
        columns=tuple(column.name for column in columns),
        target=target,
        age_years=_age(table),
        male=_male(table),
        notes=tuple(notes),
    )


def from_python(labels: Any, count: int, patients: Sequence[Any] | None, choice: Choice) -> Labels:
    """Returns the targets of labels that are given in Python, in the order of the recordings.

    Args:
        labels: one label for each recording, or such sequences by name.
        count: number of recordings.
        patients: patient of each recording; by default each recording has another one.

    Raises:
        UserError: a sequence has another length, or its values cannot be used.
    """
    named = labels if isinstance(labels, Mapping) else {"label": labels}
    columns: dict[str, Sequence[Any]] = {"id": [str(number) for number in range(count)], **named}
    if patients is not None:
        columns["patient"] = patients
    for name, values in columns.items():
        if len(values) != count:
            raise UserError(
                f"{name!r} has {counted(len(values), 'value')} for {counted(count, 'recording')}; "
                "give one for each.",
                problem="wrong_label_count",
            )
    cells = [[_text(value) for value in values] for values in columns.values()]
    table = Table(
        names=tuple(columns),
        rows=tuple(zip(*cells, strict=True)),
        lines=tuple(range(count)),
        where="The labels",
    )
    choice = dataclasses.replace(choice, id_column="id")
    return interpret(table, choice)


def _text(value: Any) -> str:
    """Returns a label as the text of a cell; empty if it is missing."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    return str(value.item() if isinstance(value, np.generic) else value).strip()


def _id_column(table: Table, wanted: str | None) -> str:
    if wanted is not None:
        return _named(table, wanted, "--id-column")
    lower = {name.lower(): name for name in reversed(table.names)}
    for name in ID_COLUMNS:
        if name in lower:
            return lower[name]
    if _has_no_header(table):
        raise UserError(
            f"The first line of {table.where} looks like data ({_shown(table.names)}), not like "
            "names of columns. Add a first line such as record,label.",
            problem="no_header",
        )
    raise UserError(
        f"{table.where} has no column {', '.join(ID_COLUMNS[:-1])} or {ID_COLUMNS[-1]} that names "
        f"the recordings; its columns are {_shown(table.names)}. Rename one, or set --id-column.",
        problem="no_id_column",
    )


def _has_no_header(table: Table) -> bool:
    """Returns whether the first line holds numbers, or values that its columns hold below it."""
    for number, name in enumerate(table.names):
        cells = [row[number] for row in table.rows]
        if name in cells:
            return True
        try:
            float(name.replace(",", "."))
        except ValueError:
            continue
        return True
    return False


def _patient_column(table: Table, wanted: str | None) -> str | None:
    if wanted is not None:
        return _named(table, wanted, "--patient-column")
    lower = {name.lower(): name for name in reversed(table.names)}
    return next((lower[name] for name in PATIENT_COLUMNS if name in lower), None)


def _named(table: Table, name: str, option: str) -> str:
    if name not in table.names:
        hint = plugin.did_you_mean(name, table.names)
        raise WrongArgument(
            f"{option}: {table.where} has no column {name!r}.{hint} Its columns are "
            f"{_shown(table.names)}.",
            problem="unknown_column",
        )
    return name


def _columns(
    table: Table, choice: Choice, taken: set[str | None]
) -> tuple[list[Column], list[Note]]:
    """Returns the columns to predict, and notes about those that cannot be predicted.

    A column that the user named must be usable; others are left out with a note.
    """
    chosen = tuple(_named(table, name, "--targets") for name in choice.targets)
    for name in (*choice.classes, *choice.positive):
        _named(table, name, "--classes" if name in choice.classes else "--positive")
    used = [name for name in chosen if name in taken]
    if used:
        raise WrongArgument(
            f"--targets: the column {used[0]!r} names the recordings or patients, so it cannot be "
            "predicted.",
            problem="target_is_id",
        )
    names = chosen or tuple(name for name in table.names if name not in taken)
    if not names:
        raise UserError(
            f"{table.where} has no column of labels beside {_shown(table.names)}; add one.",
            problem="no_label_column",
        )
    columns, notes, errors = [], [], []
    for name in names:
        try:
            column = column_lib.interpret(
                name,
                table.column(name),
                table.lines,
                positive=choice.positive.get(name),
                as_classes=name in choice.classes,
            )
            _check_varies(column)
        except UserError as error:
            if name in chosen or error.problem in ("formula", "unknown_class"):
                raise
            errors.append(error)
            problem, detail = error.problem or "unusable_column", f"Left out: {error}"
            public = f"The column {name!r} was left out ({problem})."
            notes.append(Note(problem=problem, detail=detail, public=public))
        else:
            columns.append(column)
    if not columns:
        raise errors[0]
    return columns, notes


def _check_varies(column: Column) -> None:
    known = column.target[~np.isnan(column.target).any(axis=1)]
    if (known == known[:1]).all():
        value = column.outputs[int(known[0].argmax())] if column.kind == CLASSES else known[0, 0]
        raise UserError(
            f"All {counted(len(known), 'value')} of the column {column.name!r} are equal "
            f"({value}), so nothing can be learned from it; add recordings with other labels.",
            problem="one_class",
        )


def _combined(columns: Sequence[Column]) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Returns kind, outputs and targets [N, K] of the head that predicts all columns.

    Raises:
        UserError: one head cannot predict them together.
    """
    by_kind: dict[str, list[str]] = collections.defaultdict(list)
    for column in columns:
        by_kind[column.kind].append(column.name)
    if len(by_kind) > 1 or len(by_kind.get(CLASSES, ())) > 1:
        kinds = "; ".join(f"{kind}: {_shown(names)}" for kind, names in by_kind.items())
        raise UserError(
            "One head predicts columns of yes or no, or columns of numbers, or one column of "
            f"classes, but the labels have {kinds}. Name those to predict by --targets, and fit "
            "the others in another run.",
            problem="mixed_kinds",
        )
    kind = next(iter(by_kind))
    outputs = tuple(output for column in columns for output in column.outputs)
    target = np.concatenate([column.target for column in columns], axis=1)
    if kind == CLASSES:
        return "multiclass", outputs, target
    single = kind == BINARY and len(columns) == 1
    return "binary" if single else _KINDS[kind], outputs, target


def _age(table: Table) -> np.ndarray:
    """Returns the ages that a table states, [N]; NaN where it states none that is plausible."""
    ages = np.full(len(table.rows), np.nan)
    name = _first(table, _AGE_COLUMNS)
    for row, cell in enumerate(table.column(name) if name else ()):
        try:
            age = float(cell.replace(",", "."))
        except ValueError:
            continue
        ages[row] = age if 0 <= age <= 120 else np.nan
    return ages


def _male(table: Table) -> np.ndarray:
    name = _first(table, _SEX_COLUMNS)
    if name is None:
        return np.full(len(table.rows), np.nan)
    cells = [cell.lower() for cell in table.column(name)]
    return np.array([1.0 if c in _MALE else 0.0 if c in _FEMALE else np.nan for c in cells])


def _first(table: Table, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in table.names}
    return next((lower[name] for name in names if name in lower), None)


def is_missing(text: str) -> bool:
    """Returns whether a cell has no value."""
    return text.lower() in MISSING


def _shown(names: Sequence[str]) -> str:
    return ", ".join(printable(name) for name in names[:12]) + (", ..." if len(names) > 12 else "")
