"""Training objectives. An objective is one module in this folder; nothing lists them.

A module is an objective when its name has no leading underscore, and it defines

* `Config`: a frozen dataclass, the settings of the objective;
* `PRESETS`: `dict[str, Config]` with at least "paper";
* `terms(view_a, view_b, risk, completeness, config, *, mesh=None)`: the loss under the key "loss"
  and the parts it was made of, all scalars over the whole (global) batch.

Modules with a leading underscore are mathematics that several objectives share.

Shapes: N patients of the global batch, D embedding. Views are [N, D], risk and completeness [N].
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import jax


class Objective(Protocol):
    """What a module of this folder offers."""

    Config: type
    PRESETS: Mapping[str, Any]

    @staticmethod
    def terms(
        view_a: jax.Array,
        view_b: jax.Array,
        risk: jax.Array,
        completeness: jax.Array,
        config: Any,
        *,
        mesh: jax.sharding.Mesh | None = None,
    ) -> dict[str, jax.Array]:
        """Maps two views [N, D], risk [N] and completeness [N] to named scalars."""
        ...


def load() -> dict[str, Objective]:
    """Every objective by module name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: cast(Objective, importlib.import_module(f"{__name__}.{name}")) for name in names}


def load_one(name: str) -> Objective:
    """The objective of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    known = load()
    if name not in known:
        raise ValueError(f"Unknown objective {name!r}; {_suggestion(name, known)}.")
    return known[name]


def preset(name: str, preset_name: str) -> Any:
    """The `Config` that objective `name` keeps under `preset_name`.

    Raises:
        ValueError: there is no such objective or preset; the message names the nearest.
    """
    presets = load_one(name).PRESETS
    if preset_name not in presets:
        hint = _suggestion(preset_name, presets)
        raise ValueError(f"Objective {name!r} has no preset {preset_name!r}; {hint}.")
    return presets[preset_name]


def _suggestion(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}there are {', '.join(sorted(known))}"
