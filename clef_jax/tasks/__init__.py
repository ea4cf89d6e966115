"""Evaluation tasks. A task is one module of this package that defines `TASK`; it is discovered
automatically.

```
from clef_jax.tasks import Task

TASK = Task(dataset="chapman", kind="multilabel", label="diagnoses", description="Diagnoses.")
```

Another package adds such a module by an entry point in its `pyproject.toml`:

```
[project.entry-points."clef_jax.tasks"]
my_task = "my_package.my_task"
```

A task reads a stored label (`label`) or computes its target from an example (`target`). Patients
and splits are those of the prepared data set. Modules with a leading underscore hold code that
several tasks share.
"""

import dataclasses

from clef_jax import plugin
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


_KIND = plugin.Kind(label="task", package=__name__, attribute="TASK", expected=Task)


def names() -> list[str]:
    """Returns the names of all tasks, sorted, without importing any task.

    Raises:
        UserError: two modules have the same name.
    """
    return _KIND.names()


def load() -> dict[str, Task]:
    """Returns every task by its module's name, sorted.

    Raises:
        UserError: a module defines no task or an invalid one.
    """
    return {name: find(name) for name in names()}


def find(name: str) -> Task:
    """Returns the task of this name; no other task is imported.

    Raises:
        UserError: the name is unknown, and the message proposes the nearest; or the module defines
            no task or an invalid one.
    """
    return dataclasses.replace(_KIND.load_one(name), name=name)
