"""Training objectives. An objective is one module in this folder; nothing lists them. Another
package adds one by an entry point of the group `clef_jax.objectives` (`clef_jax.plugin`).

A module is an objective when its name has no leading underscore, and it defines

* `Config`: a frozen dataclass, the settings of the objective;
* `PRESETS`: `dict[str, Config]` with at least "paper";
* `terms(view_a, view_b, risk, completeness, config, *, mesh=None)`: the loss under the key "loss"
  and the parts it was made of, all scalars over the whole (global) batch.

Modules with a leading underscore are mathematics that several objectives share.

Shapes: N patients of the global batch, D embedding. Views are [N, D], risk and completeness [N].
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import jax

from clef_jax import plugin
from clef_jax.errors import UserError


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


_KIND = plugin.Kind(label="objective", package=__name__, attribute="terms", expected=None)


def load() -> dict[str, Objective]:
    """Returns every objective by name, sorted."""
    return {name: load_one(name) for name in _KIND.names()}


def load_one(name: str) -> Objective:
    """Returns one objective; no other objective is imported.

    Raises:
        UserError: the name is unknown; the message proposes the nearest.
    """
    return cast(Objective, _KIND.module(name))


def preset(name: str, preset_name: str) -> Any:
    """Returns the `Config` that objective `name` keeps under `preset_name`.

    Raises:
        UserError: the objective or the preset is unknown; the message proposes the nearest.
    """
    presets = load_one(name).PRESETS
    if preset_name not in presets:
        label = f"preset of the objective {name!r}"
        raise UserError(plugin.unknown(label, preset_name, sorted(presets)))
    return presets[preset_name]
