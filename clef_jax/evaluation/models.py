"""Collects the encoders to evaluate: pre-trained ones and baselines."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence

from jax.sharding import Mesh

from clef_jax import baselines
from clef_jax.embedding import foreign, pretrained
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.evaluation import combined, published_models, stored_features
from clef_jax.evaluation.combined import Combined
from clef_jax.evaluation.feature_source import Model
from clef_jax.evaluation.settings import ALL, LAST, NONE
from clef_jax.training import TRAINED, Weights


def collect(
    checkpoints: Sequence[str],
    wanted_baselines: str,
    mesh: Mesh,
    *,
    weights: Weights = TRAINED,
    size: str,
    num_seeds: int,
    seed: int,
    layer: str = LAST,
    variants: Sequence[str] = (),
) -> list[Model]:
    """Returns the models of checkpoints and baselines, each with a unique name.

    Args:
        checkpoints: Workdirs of runs, model folders, weight files, names of baselines, files of
            embeddings as `embeddings:FILE`, or several of these as `A+B`.
        wanted_baselines: `all`, `none`, or names separated by commas.
        mesh: Devices on which to run the encoders.
        weights: Weights of training runs: `trained`, or `ema` for their moving average.
        size: Size of the randomly initialised encoders if no checkpoint is given; otherwise they
            have the size of the first checkpoint.
        num_seeds: Number of encoders of a random baseline, one per seed.
        seed: The first of these seeds.
        layer: Layer of the models that stand side by side in `A+B`.
        variants: Preprocessing of published encoders, each of which is evaluated; by default what
            their authors prescribe.

    Raises:
        UserError: a name is neither a model nor a baseline, or no model is left to evaluate.
    """
    groups = [_parts(name) for name in checkpoints]
    single = [group[0] for group in groups if len(group) == 1]
    trained = _load_runs(groups, mesh, weights)
    first = next((model for model in trained.values() if isinstance(model, Embedder)), None)
    context = baselines.Context(
        mesh=mesh,
        size=first.size if first else size,
        recipe=first.recipe if first else Recipe(),
        num_seeds=num_seeds,
        seed=seed,
    )

    def make(name: str) -> list[Model]:
        if name in trained:
            return list(published_models.variants_of(trained[name], name, mesh, variants))
        if name.startswith(foreign.UNTRAINED):
            return list(published_models.untrained(name, mesh, seed, variants))
        if name.startswith(stored_features.PREFIX):
            return [stored_features.load(name)]
        return list(_of_baseline(name, context, must_exist=wanted_baselines != ALL))

    models: list[Model] = []
    for group in groups:
        choices = itertools.product(*map(make, group))
        models += [c[0] if len(c) == 1 else Combined(c, layer) for c in choices]
    for name in _named(wanted_baselines):
        models += [] if name in single else make(name)
    if not models:
        raise UserError(
            "No model to evaluate: give --model, --baselines or both.",
            problem="no_models",
        )
    return models


def _of_baseline(name: str, context: baselines.Context, *, must_exist: bool) -> Iterator[Encoder]:
    """Yields the encoders of a baseline.

    Raises:
        UserError: the name is unknown, or the baseline has no encoder without weights although one
            must exist.
    """
    encoders = list(baselines.make(name, context))
    if not encoders and context.num_seeds and must_exist:
        raise UserError(
            f"The baseline {name} is a weight file; give the file with --model.",
            problem="needs_weights",
        )
    yield from encoders


def _parts(name: str) -> list[str]:
    """Returns the names of the models that stand side by side in a name; one for a single model."""
    if _exists(name) or name in baselines.names():
        return [name]
    parts: list[str] = []
    words = combined.split_name(name)
    while words:  # a path may hold a plus sign, so the longest existing path is taken
        count = next((n for n in range(len(words), 1, -1) if _exists(_joined(words[:n]))), 1)
        parts.append(_joined(words[:count]))
        words = words[count:]
    return parts


def _joined(words: Sequence[str]) -> str:
    return combined.SEPARATOR.join(words)


def _is_run(name: str) -> bool:
    """Returns whether a name is a path to load; also if nothing exists there, which is an error."""
    if name.startswith((stored_features.PREFIX, foreign.UNTRAINED)):
        return False
    return name not in baselines.names() or _exists(name)


def _exists(name: str) -> bool:
    return pathlib.Path(name.removeprefix(stored_features.PREFIX)).expanduser().exists()


def _named(wanted: str) -> list[str]:
    if wanted in (ALL, NONE):
        return baselines.names() if wanted == ALL else []
    return [name.strip() for name in wanted.split(",")]


def _load_runs(
    groups: Sequence[Sequence[str]], mesh: Mesh, weights: Weights
) -> dict[str, Embedder | ForeignEncoder]:
    """Returns the encoders of all paths among the names of models.

    Those whose folders have the same name are named by their paths.
    """
    paths = list(dict.fromkeys(name for group in groups for name in group if _is_run(name)))
    encoders = [pretrained.load(path, mesh, weights=weights).embedder for path in paths]
    names = [encoder.name for encoder in encoders]
    return {
        path: dataclasses.replace(encoder, name=path) if names.count(encoder.name) > 1 else encoder
        for path, encoder in zip(paths, encoders, strict=True)
    }
