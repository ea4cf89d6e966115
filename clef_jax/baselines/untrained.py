"""Encoders of the same shape that learned nothing (2602.17531: a hard baseline to beat)."""

from collections.abc import Iterator

from clef_jax import embedder
from clef_jax.baselines import Context
from clef_jax.embedder import Encoder


def make(context: Context) -> Iterator[Encoder]:
    for seed in range(context.seed, context.seed + context.num_seeds):
        yield embedder.random(context.size, context.mesh, seed=seed, recipe=context.recipe)
