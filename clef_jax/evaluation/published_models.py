"""Published encoders in an evaluation: their variants of preprocessing, and untrained ones."""

from collections.abc import Iterator, Sequence

from jax.sharding import Mesh

from clef_jax.embedding import card, folder, foreign, pretrained
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.trainable import Trainable
from clef_jax.evaluation.feature_source import Model


def variants_of(
    model: Trainable, path: str, mesh: Mesh, variants: Sequence[str]
) -> Iterator[Trainable]:
    """Yields a model with each variant of its preprocessing, or the model itself if it is ours.

    Args:
        path: where the model was loaded from.
        variants: names of variants; by default the model stays as it was loaded.

    Raises:
        UserError: the encoder has no such variant.
    """
    if not variants or not _is_published(model):
        yield model
        return
    for variant in variants:
        yield pretrained.load(path, mesh, variant=variant).embedder


def _is_published(model: Trainable) -> bool:
    """Returns whether a model has variants; those of our architecture state their origin."""
    return isinstance(model, ForeignEncoder) or card.ORIGIN in folder.describe_run(model.run)


def untrained(
    name: str, mesh: Mesh, seed: int, variants: Sequence[str]
) -> Iterator[ForeignEncoder]:
    """Yields a published encoder with random weights, with each variant of its preprocessing.

    Args:
        name: `untrained:NAME`.

    Raises:
        UserError: the encoder or the variant is unknown.
    """
    key = name.removeprefix(foreign.UNTRAINED)
    for variant in variants or (None,):
        yield foreign.untrained(key, mesh, seed=seed, variant=variant)


def inputs_of(models: Sequence[Model]) -> dict[str, str]:
    """Returns what each published encoder receives, by the name of the model."""
    inputs = {}
    for model in models:
        if isinstance(model, ForeignEncoder):
            inputs[model.name] = f"{model.variant_name}: {model.variant.sentence}"
        elif isinstance(model, Embedder) and _is_published(model):
            name = folder.describe_run(model.run)["preprocessing"]
            inputs[model.name] = f"{name}: {model.recipe.sentence}"
    return inputs
