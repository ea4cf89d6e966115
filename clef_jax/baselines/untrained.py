"""Baseline of randomly initialised encoders of the same size (strong by arXiv 2602.17531)."""

from collections.abc import Iterator

from clef_jax.baselines import Context
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Encoder


def make(context: Context) -> Iterator[Encoder]:
    """Yields one randomly initialised encoder per seed."""
    for seed in range(context.seed, context.seed + context.num_seeds):
        yield encoder_lib.random(context.size, context.mesh, seed=seed, recipe=context.recipe)
