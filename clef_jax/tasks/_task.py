"""A task, and the protocol that the public reference has for it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from clef_jax import leads, plugin
from clef_jax.errors import UserError

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
KINDS: tuple[str, ...] = get_args(Kind)
Example = Mapping[str, Any]
"""What TFDS gives for one recording: NumPy scalars and arrays, bytes, and lists of bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Released:
    """Protocol of the public PyTorch reference for a task, for comparison with its numbers."""

    lead: str
    filtered: bool
    """Whether it band-passes the signal, 0.67 to 40 Hz."""
    zscored: bool
    """Whether it scales each recording to mean 0 and deviation 1."""
    splits: str = "as prepared"
    """How patients or recordings are assigned to splits."""
    caveats: tuple[str, ...] = ()
    """Sentences about what else changes its numbers."""

    def __post_init__(self):
        _check_lead(self.lead, "The released protocol of a task")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A data set, the recordings of it that count, and the target of each."""

    dataset: str
    """`name` or `name/config` of a prepared data set."""
    kind: Kind
    outputs: tuple[str, ...] = ()
    """Names of the columns; with a label, the classes of it that count, or by default all."""
    target: Callable[[Example], np.ndarray] | None = None
    """Maps an example to float32 [outputs]; NaN leaves it out. Of a multiclass task it is one-hot,
    of other classifications 0 or 1. Give either this or `label`."""
    label: str | None = None
    """A stored label: of kind "class" for multiclass, "classes" for multilabel, and "number" for
    the others. An example whose label is missing is left out."""
    leave_out_empty: bool = False
    """Of a multilabel task with a label: leave out examples without any class of the set."""
    keep: Callable[[Example], bool] | None = None
    """Leaves out the examples for which it is False; None keeps all."""
    lead: str = "I"
    unit: str = ""
    """Unit of a regression's outputs."""
    description: str = ""
    """One sentence."""
    caveats: tuple[str, ...] = ()
    """Sentences that a reader of the results must know."""
    in_paper: bool = False
    """Whether it is one of the 18 tasks of the paper."""
    released: Released | None = None
    """None if the public reference does not have it."""
    name: str = ""
    """The module's name; `clef_jax.tasks.load` fills it in."""

    def __post_init__(self):
        subject = f"The task {self.name or f'on {self.dataset!r}'}"
        _check_kind(self.kind, subject)
        if not self.dataset:
            raise UserError(f"{subject} names no data set.")
        for field, value in (("outputs", self.outputs), ("caveats", self.caveats)):
            if not isinstance(value, tuple):
                raise UserError(f"{subject} has {field} that are no tuple: write ('a', 'b').")
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
        raise UserError(f"{subject} is on the lead {lead!r}; write it as {usual!r}.")


def _check_target(task: Task, subject: str) -> None:
    """Raises UserError unless the task has a label or a target, and not both."""
    if (task.target is None) == (task.label is None):
        has = "neither a target nor a label" if task.label is None else "a target and a label"
        raise UserError(f"{subject} has {has}; give one of the two.", problem="target_or_label")
    if task.target is not None and not task.outputs:
        raise UserError(f"{subject} has a target but no outputs; name its columns.")
    if task.leave_out_empty and (task.label is None or task.kind != "multilabel"):
        raise UserError(
            f"{subject} cannot leave out empty sets: only a multilabel task with a label can."
        )


def _check_outputs(task: Task, subject: str) -> None:
    """Raises UserError if the number of outputs does not fit the kind of task."""
    if len(set(task.outputs)) < len(task.outputs):
        raise UserError(f"{subject} names an output twice: {', '.join(task.outputs)}.")
    single = task.kind == "binary" or (task.kind == "regression" and task.label is not None)
    if single and len(task.outputs) > 1:
        raise UserError(f"{subject} must have one output, not {len(task.outputs)}.")
    if task.kind == "multiclass" and len(task.outputs) == 1:
        raise UserError(f"{subject} must have two classes at least; with one it is binary.")
    if task.unit and task.is_classification:
        raise UserError(f"{subject} is {task.kind}, so it has no unit.", problem="unexpected_unit")
