"""The questions that are asked of embeddings. A task is one module of this folder that defines
`TASK`; nothing lists them.

```
from clef_jax.tasks import Task

TASK = Task(dataset="chapman", kind="multilabel", label="diagnoses", description="Diagnoses.")
```

A task reads a stored label (`label`), or computes its target from an example (`target`). Of every
data set the patients are its `patient_id` and the splits are as prepared, so no task names them.
Modules with a leading underscore are what several tasks share.
"""

import dataclasses
import difflib
import importlib
import pkgutil

from clef_jax.errors import UserError
from clef_jax.tasks._example import text, texts
from clef_jax.tasks._target import absent_classes, outputs_of, targets
from clef_jax.tasks._task import KINDS, Example, Kind, Released, Task

__all__ = [
    "KINDS",
    "Example",
    "Kind",
    "Released",
    "Task",
    "absent_classes",
    "find",
    "load",
    "names",
    "outputs_of",
    "targets",
    "text",
    "texts",
]


def names() -> list[str]:
    """The names of all tasks, sorted; no task is imported."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(name for name in found if not name.startswith("_"))


def load() -> dict[str, Task]:
    """Every task by its module's name, sorted.

    Raises:
        UserError: a module defines no task, or one that contradicts itself.
    """
    return {name: _load_one(name) for name in names()}


def find(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: there is none; says which are nearest.
    """
    known = names()
    if name not in known:
        written = name.strip().lower().replace("-", "_").replace(" ", "_")
        near = difflib.get_close_matches(written, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"There is no task {name!r}; there are {', '.join(known)}.{hint}")
    return _load_one(name)


def _load_one(name: str) -> Task:
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except UserError as error:
        raise UserError(f"The task {name} cannot be read. {error}") from error
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise UserError(
            f"The module {name} of clef_jax.tasks defines no TASK of type clef_jax.tasks.Task. "
            "Define it, or begin the module's name with an underscore."
        )
    return dataclasses.replace(task, name=name)
