"""BYOL: predict the target network's embedding of the other view, a baseline of the paper.

Grill et al. 2020 (arXiv 2006.07733, equations 1 and 2). There are no negatives. Presets: `paper` is
how the CLEF paper trains it, with a predictor on the embedding itself; `original` has projector,
predictor and the rising momentum of its authors (sections 3.2 and 3.3).

Batch norm uses the statistics of the global batch, whatever the number of devices and microbatches.
The target follows after the optimiser; the public reference moves it before.

Terms: `loss`, the mean of 2 - 2 cos(prediction, target) summed over both directions.

Shapes: N patients of the global batch, D embedding or projection.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective; the defaults are the paper's."""

    momentum: float = 0.996
    """Fraction of the target network that the first step keeps; the rest is the trained one."""
    momentum_schedule: Literal["constant", "cosine"] = "constant"
    """constant, or cosine: the momentum rises to 1 over the run."""
    projection_width: int = 0
    """Number of features of the projector's output; 0 omits the projector."""
    hidden_width: int = 0
    """Number of features of the hidden layers of projector and predictor; 0 takes half of what the
    predictor predicts."""

    def __post_init__(self):
        _check.fractions(self, "momentum")
        _check.numbers(self, "projection_width", "hidden_width", least=0)
        _check.options(self)
        if self.projection_width and not self.hidden_width:
            raise ValueError(
                f"projection_width={self.projection_width} needs hidden_width, the number of "
                "features of the hidden layers, such as 4096."
            )


PAPER = Config()
"""Settings with which the paper trains this baseline."""

ORIGINAL = Config(momentum_schedule="cosine", projection_width=256, hidden_width=4096)
"""Settings of the method's authors."""


def loss(
    prediction_a: jax.Array, target_b: jax.Array, prediction_b: jax.Array, target_a: jax.Array
) -> jax.Array:
    """Returns the scalar loss of the global batch; no gradient flows through the targets.

    Args:
        prediction_a, prediction_b: Predictions from the first and the second views, [N, D].
        target_b, target_a: The target network's embeddings of the other views, [N, D].

    Raises:
        ValueError: shapes do not agree.
    """
    from clef_jax.objectives import _byol

    return _byol.loss(prediction_a, target_b, prediction_b, target_a)


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _byol

    return _byol.init_params(config, sizes.embedding_width, rngs)


def _init_state(config: Config, sizes: Sizes, encoder: nnx.State, params: Any, rngs: nnx.Rngs):
    from clef_jax.objectives import _byol

    del config, sizes, rngs
    return _byol.init_state(encoder, params)


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    from clef_jax.objectives import _byol

    return _byol.outcome(inputs, config)


def _update_state(config: Config, state: Any, carry: Any, encoder: nnx.State, params: Any) -> Any:
    from clef_jax.objectives import _byol

    del config
    return _byol.update_state(state, carry, encoder, params)


OBJECTIVE = Objective(
    presets={"paper": Preset(config=PAPER), "original": Preset(config=ORIGINAL)},
    terms=_outcome,
    init_params=_init_params,
    init_state=_init_state,
    update_state=_update_state,
    depends_on_num_steps=lambda config: config.momentum_schedule == "cosine",
)
