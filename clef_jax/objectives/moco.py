"""MoCo: contrast with a queue of keys of a momentum encoder, a baseline of the paper.

He et al. 2020 (arXiv 1911.05722, equations 1 and 2). Presets: `paper` is how the CLEF paper trains
it, on the embedding itself; `original` is MoCo v2 (Chen et al. 2020, arXiv 2003.04297, section 3:
a projector and temperature 0.2); `v3` is MoCo v3 (Chen et al. 2021, arXiv 2104.02057, section 3 and
algorithm 1: both directions, a predictor, the batch's keys instead of a queue; its constant factor
is omitted). Shuffled batch norm is omitted, because the encoder has no norms over the batch. A step
computes the gradient, then the optimiser's update, then the momentum networks', and then enqueues
the normalised keys of the global batch once.

Term: `loss`, the mean cross-entropy of each query's own key among the negatives.

Shapes: N patients of the global batch, D embedding or projection, K keys of the queue.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from clef_jax.errors import UserError
from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective; the defaults are the paper's."""

    temperature: float = 0.07
    """Divisor of the cosine similarities; no unit."""
    queue_size: int = 65_536
    """Number of keys in the queue, at least the global batch size; 0 contrasts with the keys of the
    other patients of the batch."""
    momentum: float = 0.999
    """Fraction of the momentum encoder that a step keeps; the rest is the trained encoder."""
    momentum_schedule: Literal["constant", "cosine"] = "constant"
    """constant, or cosine: the momentum rises to 1 over the run."""
    symmetric: bool = False
    """Also contrast the second views as queries with the first views as keys."""
    projection_width: int = 0
    """Number of features of the projector's output; 0 omits the projector."""
    projection_layers: int = 2
    """Number of linear layers of the projector, with ReLU between them."""
    hidden_width: int = 0
    """Number of features of hidden layers; 0 takes the embedding's."""
    predictor: bool = False
    """Pass queries through a predictor of two layers, too."""
    batch_norm: bool = False
    """Normalise the layers of projector and predictor over the global batch."""

    def __post_init__(self):
        _check.numbers(self, "temperature", above=0)
        _check.fractions(self, "momentum")
        _check.numbers(self, "queue_size", "projection_width", "hidden_width", least=0)
        _check.numbers(self, "projection_layers", least=1)
        _check.options(self)
        if self.predictor and not self.projection_width:
            raise ValueError("predictor=True needs a projector; set projection_width above 0.")


PAPER = Config()
"""Settings with which the paper trains this baseline."""

ORIGINAL = Config(temperature=0.2, projection_width=128)
"""Settings of MoCo v2."""

V3 = Config(
    temperature=0.2,
    queue_size=0,
    momentum=0.99,
    momentum_schedule="cosine",
    symmetric=True,
    projection_width=256,
    projection_layers=3,
    hidden_width=4096,
    predictor=True,
    batch_norm=True,
)
"""Settings of MoCo v3."""


def loss(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array,
    config: Config = PAPER,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_rows: int | None = None,
) -> jax.Array:
    """Returns the mean cross-entropy of each query's own key among the keys of the queue.

    No gradient flows through keys and queue.

    Args:
        query: Embeddings of the trained encoder, [N, D]; they are normalised here.
        key: Embeddings of the momentum encoder, [N, D], likewise; row i belongs to query i.
        queue: Unit columns, [D, K].
        config: Settings; by default the paper's.
        mesh: Devices, whose axis "data" divides the rows; the result does not depend on it.
        block_rows: Number of queries that are compared at a time; None chooses it by the sizes.

    Raises:
        ValueError: shapes do not agree, or the number of devices does not divide the rows.
    """
    from clef_jax.objectives import _moco

    return _moco.queue_loss(query, key, queue, config.temperature, mesh, block_rows)


def enqueue(
    queue: jax.Array, pointer: jax.Array | int, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Replaces the oldest keys of a queue, and returns the queue and its next pointer.

    Args:
        queue: Unit columns, [D, K].
        pointer: Column of the oldest key; columns continue at 0 after the last one.
        key: Keys of the global batch, [N, D] with N <= K; they are normalised here.

    Raises:
        ValueError: shapes do not agree, or the batch has more keys than the queue.
    """
    from clef_jax.objectives import _moco

    return _moco.enqueue(queue, pointer, key)


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _moco

    return _moco.init_params(config, sizes.embedding_width, rngs)


def _init_state(config: Config, sizes: Sizes, encoder: nnx.State, params: Any, rngs: nnx.Rngs):
    from clef_jax.objectives import _moco

    if 0 < config.queue_size < sizes.global_batch_size:
        raise UserError(
            f"--moco.queue-size={config.queue_size} is below the {sizes.global_batch_size} keys of "
            "a batch; use a longer queue, or a smaller --global-batch-size.",
            problem="short_queue",
        )
    return _moco.init_state(config, sizes.embedding_width, encoder, params, rngs)


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    from clef_jax.objectives import _moco

    return _moco.outcome(inputs, config)


def _update_state(config: Config, state: Any, carry: Any, encoder: nnx.State, params: Any) -> Any:
    from clef_jax.objectives import _moco

    return _moco.update_state(config, state, carry, encoder, params)


OBJECTIVE = Objective(
    presets={
        "paper": Preset(config=PAPER),
        "original": Preset(config=ORIGINAL),
        "v3": Preset(config=V3),
    },
    terms=_outcome,
    init_params=_init_params,
    init_state=_init_state,
    update_state=_update_state,
    depends_on_num_steps=lambda config: config.momentum_schedule == "cosine",
)
