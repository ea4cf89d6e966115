"""SimCLR's NT-Xent loss (Chen et al. 2020, arXiv 2002.05709, equation 1), a baseline of the paper.

Presets: `paper` is how the CLEF paper trains it, on the embedding itself; `original` has the
projector and the temperature of its authors (sections 2.1 and 5.1).

Shapes: N patients of the global batch, D embedding.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx

    from clef_jax.objectives import _contrast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective."""

    temperature: float = 0.07
    """Divisor of the cosine similarities; no unit."""
    projection_width: int = 0
    """Number of features of a projector of two layers, with ReLU between them; 0 omits it."""

    def __post_init__(self):
        _check.numbers(self, "temperature", above=0)
        _check.numbers(self, "projection_width", least=0)


PAPER = Config()
"""Settings with which the paper trains this baseline."""

ORIGINAL = Config(temperature=0.1, projection_width=128)
"""Settings of the method's authors."""


def loss(
    view_a: jax.Array,
    view_b: jax.Array,
    risk: jax.Array,
    completeness: jax.Array,
    config: Config = PAPER,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_patients: int | None = None,
) -> jax.Array:
    """Returns the scalar loss of the global batch; arguments and errors are as in `terms`."""
    options = {"mesh": mesh, "block_patients": block_patients}
    return terms(view_a, view_b, risk, completeness, config, **options)["loss"]


def terms(
    view_a: jax.Array,
    view_b: jax.Array,
    risk: jax.Array,
    completeness: jax.Array,
    config: Config = PAPER,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_patients: int | None = None,
) -> dict[str, jax.Array]:
    """Returns {"loss": NT-Xent}; all rows of other patients in both views are negatives.

    Risk and completeness are ignored; they are accepted so that all objectives have the same
    signature. Other arguments are as in `clef.terms`.

    Raises:
        ValueError: shapes do not agree, or the number of devices does not divide the patients.
    """
    from clef_jax.objectives import _contrast

    del risk, completeness
    parts = _contrast.terms(
        view_a,
        view_b,
        (),
        (),
        _equal_weights,
        temperature=config.temperature,
        mesh=mesh,
        block_patients=block_patients,
    )
    return {"loss": parts["nce"]}


def _equal_weights(row, column, same: jax.Array, constants) -> _contrast.Pair:
    import jax.numpy as jnp

    from clef_jax.objectives import _contrast

    del row, column, constants
    return _contrast.Pair(jnp.zeros((same.shape[0], 1), jnp.float32))


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _projector

    return _projector.init(config.projection_width, sizes, rngs)


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    from clef_jax.objectives import _projector

    views = _projector.project(inputs)
    return Outcome(terms(*views, inputs.risk, inputs.completeness, config, mesh=inputs.mesh))


OBJECTIVE = Objective(
    presets={"paper": Preset(config=PAPER), "original": Preset(config=ORIGINAL)},
    terms=_outcome,
    init_params=_init_params,
)
