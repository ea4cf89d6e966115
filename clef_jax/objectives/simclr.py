"""SimCLR's NT-Xent (Chen et al. 2020, arXiv 2002.05709, equation 1), the paper's plain baseline.

Shapes: N patients of the global batch, D embedding.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, _contrast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective."""

    temperature: float = 0.07
    """Divides the cosine similarities; no unit."""

    def __post_init__(self):
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature={self.temperature} must be a number above 0.")


PAPER = Config()
"""As the paper trains this baseline."""


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
    """The scalar loss of the global batch; arguments as in `terms`."""
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
    """The loss of two views [N, D] under "loss"; every other row of either view is a negative.

    Risk and completeness are accepted, as every objective does, and ignored. `mesh` divides the
    patients over its axis "data"; `block_patients` is how many are met at a time.

    Raises:
        ValueError: shapes do not agree, or the devices do not divide the patients.
    """
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
    del row, column, constants
    return _contrast.Pair(jnp.zeros((same.shape[0], 1), jnp.float32))


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    view_a, view_b, risk, completeness = inputs[:4]
    return Outcome(terms(view_a, view_b, risk, completeness, config, mesh=inputs.mesh))


OBJECTIVE = Objective(presets={"paper": Preset(config=PAPER)}, terms=_outcome)
