"""Training objectives. An objective is one module of this package that defines `OBJECTIVE`; it is
discovered automatically.

```
OBJECTIVE = Objective(presets={"paper": Preset(config=Config())}, terms=_terms)
```

`Objective` describes what else an objective may define: parameters such as those of a projector,
state such as a queue or a momentum encoder, and labels of the recordings. Another package adds such
a module by an entry point in its `pyproject.toml`:

```
[project.entry-points."clef_jax.objectives"]
my_objective = "my_package.my_objective"
```

Modules with a leading underscore hold code that several objectives share.
"""

from clef_jax import plugin
from clef_jax.errors import UserError
from clef_jax.objectives._objective import (
    Inputs,
    Objective,
    Outcome,
    Preset,
    Sizes,
    check_outcome,
    check_params,
    check_state,
)

__all__ = [
    "Inputs",
    "Objective",
    "Outcome",
    "Preset",
    "Sizes",
    "check_outcome",
    "check_params",
    "check_state",
    "load",
    "load_one",
    "names",
    "preset",
]

_KIND = plugin.Kind(label="objective", package=__name__, attribute="OBJECTIVE", expected=Objective)


def names() -> list[str]:
    """Returns the names of all objectives, sorted; no objective is imported."""
    return _KIND.names()


def load() -> dict[str, Objective]:
    """Returns every objective by name, sorted.

    Raises:
        UserError: a module defines no objective.
    """
    return _KIND.load()


def load_one(name: str) -> Objective:
    """Returns one objective; no other objective is imported.

    Raises:
        UserError: the name is unknown; the message proposes the nearest.
    """
    return _KIND.load_one(name)


def preset(name: str, preset_name: str) -> Preset:
    """Returns a preset of an objective.

    Args:
        name: Name of the objective.
        preset_name: Name of the preset.

    Raises:
        UserError: the objective or the preset is unknown; the message proposes the nearest.
    """
    presets = load_one(name).presets
    if preset_name not in presets:
        message = plugin.unknown("preset", preset_name, sorted(presets))
        raise UserError(f"The objective {name!r} has no such preset. {message}")
    return presets[preset_name]
