"""Encoders of the same shape that learned nothing (2602.17531: a hard baseline to beat)."""

from collections.abc import Iterator

from clef_jax.baselines import Context
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Encoder


def make(context: Context) -> Iterator[Encoder]:
    for seed in range(context.seed, context.seed + context.num_seeds):
        yield encoder_lib.random(context.size, context.mesh, seed=seed, recipe=context.recipe)
