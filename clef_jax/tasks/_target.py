"""Reads the targets of a task from a prepared data set.

Shapes: N examples, C outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import plugin
from clef_jax.errors import UserError
from clef_jax.tasks._example import text, texts
from clef_jax.tasks._task import Example, Task

_LABEL_KINDS = {
    "binary": "number",
    "regression": "number",
    "multiclass": "class",
    "multilabel": "classes",
}
"""The kind of stored label (`clef_jax.data.record.Label`) that each kind of task reads."""


def outputs_of(task: Task, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the columns.

    Args:
        metadata: of the prepared data set, from `clef_jax.data.index.read_metadata`.

    Raises:
        UserError: the data set does not have the task's label, or not its classes.
    """
    if task.label is None:
        return task.outputs
    label = _label(task, metadata)
    if label["kind"] == "number":
        return task.outputs or (task.label,)
    declared = tuple(label["classes"])
    if task.kind == "multiclass" and len(declared) < 2:
        found = f"only the class {declared[0]!r}" if declared else "no class"
        raise UserError(_about(task, metadata, f"has {found} of {task.label!r}; two are needed."))
    if not declared:
        raise UserError(_about(task, metadata, f"has no class of {task.label!r}."))
    unknown = [name for name in task.outputs if name not in declared]
    if unknown:
        words = f"has no class {unknown[0]!r} of {task.label!r}; it has {', '.join(declared)}."
        words += plugin.did_you_mean(unknown[0], declared)
        raise UserError(_about(task, metadata, words))
    return task.outputs or declared


def targets(task: Task, metadata: Mapping[str, Any], examples: Iterable[Example]) -> np.ndarray:
    """Returns the targets, float32 [N, C]; the row of an example to exclude is all NaN.

    Examples are read one after another, so a stream of any length will do.

    Args:
        metadata: as in `outputs_of`.

    Raises:
        UserError: as in `outputs_of`; or a target has another form than the task promises.
    """
    outputs = outputs_of(task, metadata)
    read = task.target or _reader(task, metadata, outputs)
    excluded = np.full(len(outputs), np.nan, np.float32)
    rows = [_row(task, metadata, example, read, excluded) for example in examples]
    values = np.array(rows, np.float32).reshape(len(rows), len(outputs))
    values[np.isnan(values).any(axis=1)] = np.nan
    _check(task, metadata, values[~np.isnan(values).any(axis=1)])
    return values


def absent_classes(
    task: Task, metadata: Mapping[str, Any], values: np.ndarray | Sequence[Sequence[float]]
) -> tuple[str, ...]:
    """Returns the classes that no target [N, C] has, and `not NAME` for those that every one has.

    A regression has none.
    """
    if not task.is_classification:
        return ()
    outputs = outputs_of(task, metadata)
    values = np.asarray(values, np.float32).reshape(-1, len(outputs))
    known = values[~np.isnan(values).any(axis=1)]
    nobody = [name for name, has in zip(outputs, known.T, strict=True) if not (has == 1).any()]
    everybody = [
        f"not {name}"
        for name, has in zip(outputs, known.T, strict=True)
        if task.kind != "multiclass" and not (has == 0).any()
    ]
    return (*nobody, *everybody)


def _label(task: Task, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = {label["name"]: label for label in metadata["labels"]}
    if task.label not in labels:
        there = f"it has {', '.join(labels)}" if labels else "it has none"
        words = f"has no label {task.label!r}; {there}."
        words += plugin.did_you_mean(task.label, labels)
        raise UserError(_about(task, metadata, words))
    label = labels[task.label]
    if label["kind"] != _LABEL_KINDS[task.kind]:
        words = (
            f"stores {task.label!r} as {label['kind']!r}, but a {task.kind} task reads "
            f"{_LABEL_KINDS[task.kind]!r}."
        )
        raise UserError(_about(task, metadata, words))
    return label


def _reader(
    task: Task, metadata: Mapping[str, Any], outputs: tuple[str, ...]
) -> Callable[[Example], Any]:
    """Maps an example to its row by the task's label."""
    name, kind = str(task.label), _label(task, metadata)["kind"]
    excluded = np.full(len(outputs), np.nan, np.float32)
    if kind == "number":
        return lambda example: [example[name]]
    row_of = dict(zip(outputs, np.eye(len(outputs), dtype=np.float32), strict=True))
    if kind == "class":
        return lambda example: row_of.get(text(example[name]), excluded)
    empty = excluded if task.leave_out_empty else np.zeros_like(excluded)

    def several(example: Example) -> np.ndarray:
        found = [row_of[one] for one in set(texts(example[name])) if one in row_of]
        return np.sum(found, axis=0) if found else empty

    return several


def _row(
    task: Task,
    metadata: Mapping[str, Any],
    example: Example,
    read: Callable[[Example], Any],
    excluded: np.ndarray,
) -> Any:
    try:
        row = excluded if task.keep is not None and not task.keep(example) else read(example)
    except KeyError as error:
        if error.args and error.args[0] not in example:
            words = f"stores no {error.args[0]!r}; it stores {', '.join(sorted(example))}."
            raise UserError(_about(task, metadata, words)) from error
        raise
    if np.shape(row) != excluded.shape:
        raise UserError(
            f"The target of the task {_name(task)} has the shape {np.shape(row)}, but it has "
            f"{len(excluded)} outputs: return an array of shape {excluded.shape}."
        )
    return row


def _check(task: Task, metadata: Mapping[str, Any], known: np.ndarray) -> None:
    """Refuses answers [N, C], all of them known, that the kind of task cannot have."""
    wrong = ""
    if not np.isfinite(known).all():
        wrong = "is infinite; write NaN for an unknown one"
    elif task.is_classification and not np.isin(known, (0, 1)).all():
        wrong = f"is {known[~np.isin(known, (0, 1))][0]:g}; a {task.kind} one is 0 or 1"
    elif task.kind == "multiclass" and (known.sum(axis=1) != 1).any():
        wrong = "has no class or several; a multiclass one has exactly one"
    if wrong:
        raise UserError(f"A target of the task {_name(task)} on {metadata['dataset']} {wrong}.")


def _name(task: Task) -> str:
    return task.name or f"on {task.dataset!r}"


def _about(task: Task, metadata: Mapping[str, Any], words: str) -> str:
    return f"The task {_name(task)} cannot be asked: the data set {metadata['dataset']} {words}"
