"""Collects the encoders to evaluate: pre-trained ones and baselines."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from jax.sharding import Mesh

from clef_jax import baselines
from clef_jax.embedding import pretrained
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

ALL, NONE = "all", "none"


def collect(
    checkpoints: Sequence[str],
    wanted_baselines: str,
    mesh: Mesh,
    *,
    size: str,
    num_seeds: int,
    seed: int,
) -> list[Encoder]:
    """Returns the encoders of checkpoints and baselines, each with a name of its own.

    Args:
        checkpoints: workdirs of runs, model folders, files of weights, or names of baselines.
        wanted_baselines: all, none, or names separated by commas.
        size: size of randomly initialised encoders if no checkpoint is given.

    Raises:
        UserError: something is neither a model nor a baseline, or there is nothing to evaluate.
    """
    runs = [name for name in checkpoints if name not in baselines.names() or _exists(name)]
    trained = [pretrained.load(path, mesh).embedder for path in runs]
    first = trained[0] if trained else None
    context = baselines.Context(
        mesh=mesh,
        size=first.size if first else size,
        recipe=first.recipe if first else Recipe(),
        num_seeds=num_seeds,
        seed=seed,
    )
    names = [name for name in checkpoints if name not in runs]
    names += [name for name in _named(wanted_baselines) if name not in names]
    models: list[Encoder] = list(_by_own_names(trained, runs))
    for name in names:
        encoders = list(baselines.make(name, context))
        if not encoders and num_seeds and wanted_baselines != ALL:
            raise UserError(
                f"The baseline {name} is a file of weights: give the file with --checkpoint.",
                problem="needs_weights",
            )
        models += encoders
    if not models:
        raise UserError(
            "No model to evaluate: give --checkpoint, --baselines or both.",
            problem="no_models",
        )
    return models


def _exists(name: str) -> bool:
    return pathlib.Path(name).expanduser().exists()


def _named(wanted: str) -> list[str]:
    if wanted in (ALL, NONE):
        return baselines.names() if wanted == ALL else []
    return [name.strip() for name in wanted.split(",")]


def _by_own_names(trained: Sequence[Embedder], runs: Sequence[str]) -> Iterator[Embedder]:
    """Yields the encoders; runs whose folders have the same name are named by their paths."""
    names = [encoder.name for encoder in trained]
    for encoder, path in zip(trained, runs, strict=True):
        is_ambiguous = names.count(encoder.name) > 1
        yield dataclasses.replace(encoder, name=path) if is_ambiguous else encoder
