"""Reads the targets of a task from a prepared data set.

Shapes: N examples, C outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import plugin
from clef_jax.errors import UserError, counted
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
    """Returns the names of a task's outputs.

    Args:
        task: The task.
        metadata: Metadata of the prepared data set, from `clef_jax.data.index.read_metadata`.

    Raises:
        UserError: the data set lacks the task's label, or some of its classes.
    """
    if task.label is None:
        return task.outputs
    label = _label(task, metadata)
    if label["kind"] == "number":
        return task.outputs or (task.label,)
    declared = tuple(label["classes"])
    if task.kind == "multiclass" and len(declared) < 2:
        classes = f"only the class {declared[0]!r}" if declared else "no class"
        message = f"has {classes} of {task.label!r}; two are needed."
        raise UserError(_about(task, metadata, message))
    if not declared:
        raise UserError(_about(task, metadata, f"has no class of {task.label!r}."))
    unknown = [name for name in task.outputs if name not in declared]
    if unknown:
        message = f"has no class {unknown[0]!r} of {task.label!r}; it has {', '.join(declared)}."
        message += plugin.did_you_mean(unknown[0], declared)
        raise UserError(_about(task, metadata, message))
    return task.outputs or declared


def targets(task: Task, metadata: Mapping[str, Any], examples: Iterable[Example]) -> np.ndarray:
    """Returns the targets of examples, float32 [N, C]; rows of excluded examples are NaN.

    Args:
        task: The task.
        metadata: As in `outputs_of`.
        examples: Examples of the prepared data set; they are read one after another.

    Raises:
        UserError: as in `outputs_of`; or a target has another shape or other values than the kind
            of task allows.
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
    """Returns the classes that no target [N, C] has, and `not NAME` for those that all have.

    The result of a regression is empty.
    """
    if not task.is_classification:
        return ()
    outputs = outputs_of(task, metadata)
    values = np.asarray(values, np.float32).reshape(-1, len(outputs))
    known = values[~np.isnan(values).any(axis=1)]
    never = [name for name, target in zip(outputs, known.T, strict=True) if not (target == 1).any()]
    always = [
        f"not {name}"
        for name, target in zip(outputs, known.T, strict=True)
        if task.kind != "multiclass" and not (target == 0).any()
    ]
    return (*never, *always)


def _label(task: Task, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the metadata of the task's label.

    Raises:
        UserError: the data set lacks the label, or stores it in another way than the task needs.
    """
    labels = {label["name"]: label for label in metadata["labels"]}
    if task.label not in labels:
        available = f"it has {', '.join(labels)}" if labels else "it has none"
        message = f"has no label {task.label!r}; {available}."
        message += plugin.did_you_mean(task.label, labels)
        raise UserError(_about(task, metadata, message))
    label = labels[task.label]
    if label["kind"] != _LABEL_KINDS[task.kind]:
        message = (
            f"stores {task.label!r} as {label['kind']!r}, but a {task.kind} task needs "
            f"{_LABEL_KINDS[task.kind]!r}."
        )
        raise UserError(_about(task, metadata, message))
    return label


def _reader(
    task: Task, metadata: Mapping[str, Any], outputs: tuple[str, ...]
) -> Callable[[Example], Any]:
    """Returns a function that maps an example to its target [C] by the task's label."""
    name, kind = str(task.label), _label(task, metadata)["kind"]
    excluded = np.full(len(outputs), np.nan, np.float32)
    if kind == "number":
        return lambda example: [example[name]]
    row_of = dict(zip(outputs, np.eye(len(outputs), dtype=np.float32), strict=True))
    if kind == "class":
        return lambda example: row_of.get(text(example[name]), excluded)
    empty = excluded if task.leave_out_empty else np.zeros_like(excluded)

    def read_classes(example: Example) -> np.ndarray:
        classes = set(texts(example[name]))
        rows = [row_of[stored] for stored in classes if stored in row_of]
        return np.sum(rows, axis=0) if rows else empty

    return read_classes


def _row(
    task: Task,
    metadata: Mapping[str, Any],
    example: Example,
    read: Callable[[Example], Any],
    excluded: np.ndarray,
) -> Any:
    """Returns the target of an example, [C]; `excluded` if the task does not use it."""
    try:
        row = excluded if task.keep is not None and not task.keep(example) else read(example)
    except KeyError as error:
        if error.args and error.args[0] not in example:
            message = f"stores no {error.args[0]!r}; it stores {', '.join(sorted(example))}."
            raise UserError(_about(task, metadata, message)) from error
        raise
    if np.shape(row) != excluded.shape:
        raise UserError(
            f"`target` of the task {_name(task)} returns an array of shape {np.shape(row)}, but "
            f"the task has {counted(len(excluded), 'output')}: return an array of shape "
            f"{excluded.shape}."
        )
    return row


def _check(task: Task, metadata: Mapping[str, Any], known: np.ndarray) -> None:
    """Raises UserError unless known targets [N, C] are valid for the kind of task."""
    wrong = ""
    if not np.isfinite(known).all():
        wrong = "is infinite; use NaN for unknown targets"
    elif task.is_classification and not np.isin(known, (0, 1)).all():
        wrong = f"is {known[~np.isin(known, (0, 1))][0]:g}; a {task.kind} target must be 0 or 1"
    elif task.kind == "multiclass" and (known.sum(axis=1) != 1).any():
        wrong = "has no class or several; a multiclass target must have exactly one"
    if wrong:
        raise UserError(f"A target of the task {_name(task)} on {metadata['dataset']} {wrong}.")


def _name(task: Task) -> str:
    return task.name or f"on {task.dataset!r}"


def _about(task: Task, metadata: Mapping[str, Any], message: str) -> str:
    return (
        f"The task {_name(task)} cannot be evaluated: the data set {metadata['dataset']} {message}"
    )
