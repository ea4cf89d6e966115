"""Loads a model from a file of weights: infers the network and adds its preprocessing."""

import dataclasses
import hashlib
import pathlib
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from clef_jax.convert import known_files, torch_file, weights
from clef_jax.embedding import encoder as encoder_lib, foreign, published as published_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.embedding.published import Published
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import Net1D

SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")


class Foreign(NamedTuple):
    """Contents of another model's file, as `read_weights` of a baseline returns them."""

    encoder: Net1D
    head_weight: np.ndarray
    """Weights of the classifier, [K, D]: K classes, D features."""
    head_bias: np.ndarray
    """Biases of the classifier, [K]."""
    note: str
    """Sentence for the user."""
    recipe: Recipe = Recipe()
    """Preprocessing."""
    about: Mapping[str, Any] = types.MappingProxyType({})
    """Metadata for the model card: origin and licence."""
    name_suffix: str = ""
    """Suffix of the model's name in tables, after the name of the file."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes; None if the file states none."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedWeights:
    """Model and head that were loaded from a file of weights."""

    model: Embedder | ForeignEncoder
    head: Head | None
    """Classifier with numbered classes, which ECGFounder's files have; otherwise None."""
    notes: tuple[str, ...]
    """Sentences for the user."""


def read(
    path: pathlib.Path,
    mesh: Mesh,
    *,
    batch_norm: bool | None = None,
    variant: str | None = None,
) -> LoadedWeights:
    """Loads the encoder of a file with its preprocessing.

    The weights are those of CLEF, whose size is inferred from the shapes and whose preprocessing is
    the paper's, or of a published encoder that a baseline describes.

    Args:
        batch_norm: whether a network with a classifier applies its batch norms, as in
            `ecgfounder.from_torch`; by default inferred from them.
        variant: preprocessing of a published encoder; by default what its authors prescribe.

    Raises:
        UserError: the type of the file is unknown, the file cannot be read safely, or it fits no
            encoder.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path} is not a known file of weights; its name should end in {', '.join(SUFFIXES)}."
        )
    content = torch_file.read_tree(path)
    recognised = published_lib.recognise(content)
    if recognised is not None:
        return _read_published(path, content, *recognised, mesh, variant)
    similar = _read_foreign(content, batch_norm, variant)
    if similar is not None:
        return _of_similar(path, similar, mesh)
    published_lib.check_no_variant(path, variant)
    known, weights_read = known_files.recognise(path), torch_file.read(path)
    notes = [known.note] if known else []
    size, _ = torch_file.infer_size(weights_read.arrays)
    encoder = weights.from_torch(weights_read.arrays, size)
    model = encoder_lib.of_encoder(encoder, mesh, name=path.stem, recipe=Recipe())
    return LoadedWeights(model, None, (*notes, *weights_read.notes))


def _read_published(
    path: pathlib.Path,
    content: Mapping[str, Any],
    key: str,
    published: Published,
    mesh: Mesh,
    variant: str | None,
) -> LoadedWeights:
    published.variant(variant)  # rejects an unknown one before the weights are read
    network = published.from_torch(content)
    model = foreign.of_network(
        network, mesh, name=path.stem, key=key, published=published, variant=variant
    )
    notes = [_origin(path, published), f"Preprocessing {model.variant_name}: "]
    notes[-1] += model.variant.sentence
    return LoadedWeights(model, None, tuple(notes))


def _origin(path: pathlib.Path, published: Published) -> str:
    """Returns a sentence that says whether a file is a published one, by its SHA-256."""
    digest = _digest(path)
    for name, checksum in published.checksums.items():
        if checksum == digest:
            return f"{path.name} is {published.title}'s published file {name}, by its SHA-256."
    known = published.checksums.get(path.name)
    if known is not None:
        return (
            f"{path.name} holds weights of {published.title} and has the name of a published file, "
            f"but its SHA-256 is {digest} instead of {known}: it holds other weights."
        )
    return (
        f"{path.name} holds weights of {published.title}. Its SHA-256 is {digest}, with which no "
        "published one is known to compare; record it with your results."
    )


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_similar(path: pathlib.Path, similar: Foreign, mesh: Mesh) -> LoadedWeights:
    """Returns the model of another network of our architecture, with its classifier."""
    name = f"{path.stem}{similar.name_suffix}"
    model = encoder_lib.of_encoder(similar.encoder, mesh, name=name, recipe=similar.recipe)
    layer = list(model.layers)[-1]
    digest = _digest(path)
    run = {"model": {**similar.about, "weights_sha256": digest}} if similar.about else None
    model = dataclasses.replace(model, run=run)
    head = Head.of_classes(similar.head_weight, similar.head_bias, layer=layer)
    if similar.class_names is not None:
        head = dataclasses.replace(head, names=similar.class_names)
    recorded = f"The SHA-256 of {path.name} is {digest}; record it with your results."
    return LoadedWeights(model, head, (similar.note, recorded))


def _read_foreign(
    content: Mapping[str, Any], batch_norm: bool | None, variant: str | None
) -> Foreign | None:
    """Returns the model of the baseline that recognises a file's contents; None if no baseline
    does.

    A baseline that reads files of our architecture defines `recognises(content) -> bool` and
    `read_weights(content, *, batch_norm, variant) -> Foreign` beside its `make`. The contents are
    mappings within mappings.
    """
    for _, module in published_lib.modules():
        read_weights = getattr(module, "read_weights", None)
        if read_weights is not None and module.recognises(content):
            return read_weights(content, batch_norm=batch_norm, variant=variant)
    return None
