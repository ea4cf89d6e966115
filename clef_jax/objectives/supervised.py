"""Supervised control: one linear layer predicts the recordings' own labels during pre-training.

It shows what the labels of a data set are worth with the same encoder, data and steps. Both views
are separate examples. By default it learns PTB-XL's SCP-ECG codes, from the data set that is
prepared as `ptb_xl`; test folds are kept out of the training by `--exclude`. The linear layer is
discarded; evaluation uses the embedding, as for every objective.

Term: `loss`, the mean sigmoid cross-entropy over the known labels of the global batch.

Shapes: N patients of the global batch, D embedding, K classes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective."""

    labels: tuple[str, ...] = ("scp_codes",)
    """Names of the stored labels that are predicted together; each must have classes."""

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                f"labels={self.labels!r} must name one or more labels of the data set, each once."
            )


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the mean sigmoid cross-entropy over known labels; 0 if none is known.

    Args:
        logits: Outputs of the linear layer, [N, K].
        labels: 1 where a class is present, 0 where it is absent, NaN where unknown, [N, K].

    Raises:
        ValueError: shapes do not agree.
    """
    import jax.numpy as jnp
    import optax

    if logits.shape != labels.shape:
        raise ValueError(
            f"Logits and labels must have the same shape; they have {logits.shape} and "
            f"{labels.shape}."
        )
    known = ~jnp.isnan(labels)
    each = optax.sigmoid_binary_cross_entropy(logits, jnp.where(known, labels, 0))
    return jnp.sum(jnp.where(known, each, 0)) / jnp.maximum(known.sum(), 1)


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _network

    num_classes = sum(sizes.label_widths[name] for name in config.labels)
    return {"head": _network.init((sizes.embedding_width, num_classes), rngs)}


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    import jax.numpy as jnp

    from clef_jax.objectives import _cosine, _network

    labels = jnp.concatenate([inputs.labels[name] for name in config.labels], axis=1)
    logits = [
        _network.apply(inputs.params["head"], _cosine.widen(view))[0]
        for view in (inputs.view_a, inputs.view_b)
    ]
    # Both views have the same labels, so the mean of their means is the mean over all examples.
    return Outcome({"loss": (loss(logits[0], labels) + loss(logits[1], labels)) / 2})


OBJECTIVE = Objective(
    presets={"paper": Preset(config=Config(), training={"dataset": "ptb_xl"})},
    terms=_outcome,
    labels=lambda config: config.labels,
    label_kinds=("class", "classes"),
    init_params=_init_params,
)
