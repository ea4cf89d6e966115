"""Definition of a task, and of the public reference's protocol for it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from clef_jax import leads, plugin
from clef_jax.errors import UserError

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
KINDS: tuple[str, ...] = get_args(Kind)
Example = Mapping[str, Any]
"""One recording as TFDS returns it: NumPy scalars and arrays, bytes, and lists of bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Released:
    """Protocol of the public PyTorch reference for a task, for comparison with its scores."""

    lead: str
    """Lead of its inputs."""
    filtered: bool
    """Whether it applies the band-pass of 0.67 to 40 Hz."""
    zscored: bool
    """Whether it scales each recording to mean 0 and standard deviation 1."""
    splits: str = "as prepared"
    """How patients or recordings are assigned to splits."""
    caveats: tuple[str, ...] = ()
    """Sentences about other differences that affect its scores."""

    def __post_init__(self):
        _check_lead(self.lead, "The released protocol of a task")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """An evaluation task: a prepared data set, its recordings to use, and the target of each."""

    dataset: str
    """`name` or `name/config` of the prepared data set."""
    kind: Kind
    outputs: tuple[str, ...] = ()
    """Names of the target's columns. With a label, the classes to use; by default all."""
    target: Callable[[Example], np.ndarray] | None = None
    """Maps an example to its target, float32 [outputs]: one-hot if multiclass, 0 or 1 in other
    classifications. NaN excludes the example. Give either this or `label`."""
    label: str | None = None
    """Name of a stored label, whose kind is "class" if the task is multiclass, "classes" if it is
    multilabel, and else "number". Examples with a missing label are excluded."""
    leave_out_empty: bool = False
    """Whether a multilabel task with a label excludes examples without any class. By default they
    count as negative for all classes."""
    keep: Callable[[Example], bool] | None = None
    """Returns whether to use an example; by default all are used."""
    lead: str = "I"
    """Name of the lead from which to predict."""
    unit: str = ""
    """Unit of a regression's outputs."""
    description: str = ""
    """Description of the target in one sentence."""
    caveats: tuple[str, ...] = ()
    """Sentences that a reader of the results must know."""
    in_paper: bool = False
    """Whether it is one of the 18 tasks of the paper."""
    released: Released | None = None
    """Protocol of the public reference; None if it does not have the task."""
    name: str = ""
    """Name of the task's module; `clef_jax.tasks.load` sets it."""

    def __post_init__(self):
        subject = f"The task {self.name or f'on {self.dataset!r}'}"
        _check_kind(self.kind, subject)
        if not self.dataset:
            raise UserError(f"{subject} names no data set.")
        for field, value in (("outputs", self.outputs), ("caveats", self.caveats)):
            if not isinstance(value, tuple):
                raise UserError(f"{subject} must have a tuple as `{field}`: ('a', 'b').")
        _check_lead(self.lead, subject)
        _check_target(self, subject)
        _check_outputs(self, subject)

    @property
    def is_classification(self) -> bool:
        return self.kind != "regression"


def _check_kind(kind: str, subject: str) -> None:
    if kind not in KINDS:
        raise UserError(f"{subject} has no valid kind. {plugin.unknown('kind', kind, KINDS)}")


def _check_lead(lead: str, subject: str) -> None:
    usual = leads.canonical(lead)
    if lead != usual:
        raise UserError(f"{subject} names the lead {lead!r}; write it as {usual!r}.")


def _check_target(task: Task, subject: str) -> None:
    """Raises UserError unless the task has either a label or a target."""
    if (task.target is None) == (task.label is None):
        has = "neither a target nor a label" if task.label is None else "a target and a label"
        raise UserError(f"{subject} has {has}; give one of the two.", problem="target_or_label")
    if task.target is not None and not task.outputs:
        raise UserError(f"{subject} has a target but no outputs; set `outputs` to its columns.")
    if task.leave_out_empty and (task.label is None or task.kind != "multilabel"):
        raise UserError(
            f"{subject} sets `leave_out_empty`, which only a multilabel task with a label can use."
        )


def _check_outputs(task: Task, subject: str) -> None:
    """Raises UserError if the number of outputs does not fit the kind of task."""
    if len(set(task.outputs)) < len(task.outputs):
        raise UserError(f"{subject} has duplicate outputs: {', '.join(task.outputs)}.")
    single = task.kind == "binary" or (task.kind == "regression" and task.label is not None)
    if single and len(task.outputs) > 1:
        raise UserError(f"{subject} must have one output, not {len(task.outputs)}.")
    if task.kind == "multiclass" and len(task.outputs) == 1:
        raise UserError(
            f"{subject} is multiclass and must have at least two outputs; for one class use binary."
        )
    if task.unit and task.is_classification:
        raise UserError(
            f"{subject} is {task.kind}, so it must not have a unit.", problem="unexpected_unit"
        )
