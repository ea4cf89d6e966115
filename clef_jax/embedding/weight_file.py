"""Loads a model from a file of weights: infers the network and adds its preprocessing."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from clef_jax import plugin
from clef_jax.convert import known_files, torch_file, weights
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import Net1D

SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")

_BASELINES = "clef_jax.baselines"
"""Package whose modules may read files of other models; they build on this room, so that it finds
them as plug-ins."""


class Foreign(NamedTuple):
    """Contents of another model's file, as `read_weights` of a baseline returns them."""

    encoder: Net1D
    head_weight: np.ndarray
    """Weights of the classifier, [K, D]: K classes, D features."""
    head_bias: np.ndarray
    """Biases of the classifier, [K]."""
    note: str
    """A sentence for the user."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedWeights:
    """Model and head that were loaded from a file."""

    model: Embedder
    head: Head | None
    """The classifier on its embeddings that ECGFounder's files have; its classes are numbered."""
    notes: tuple[str, ...]
    """Sentences for the user."""


def read(path: pathlib.Path, mesh: Mesh, *, batch_norm: bool | None = None) -> LoadedWeights:
    """Loads the encoder of a file with the paper's preprocessing; infers its size from the shapes.

    Args:
        batch_norm: for files with a classifier only; passed to `ecgfounder.from_torch`.

    Raises:
        UserError: the file has another type, cannot be read safely, or fits no encoder.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path} is no file of weights that is known: it should end in {', '.join(SUFFIXES)}."
        )
    known, weights_read = known_files.recognise(path), torch_file.read(path)
    notes = [known.note] if known else []
    notes += weights_read.notes
    foreign = _read_foreign(weights_read.arrays, batch_norm)
    if foreign is None:
        size, _ = torch_file.infer_size(weights_read.arrays)
        encoder = weights.from_torch(weights_read.arrays, size)
    else:
        encoder = foreign.encoder
        notes.append(foreign.note)
    model = encoder_lib.of_encoder(encoder, mesh, name=path.stem, recipe=Recipe())
    head = None
    if foreign is not None:
        layer = list(model.layers)[-1]
        head = Head.of_classes(foreign.head_weight, foreign.head_bias, layer=layer)
    return LoadedWeights(model, head, tuple(notes))


def _read_foreign(arrays: Mapping[str, np.ndarray], batch_norm: bool | None) -> Foreign | None:
    """Returns the model of the baseline that recognises the arrays; None if no baseline does.

    A baseline that reads files defines `recognises(arrays) -> bool` and
    `read_weights(arrays, *, batch_norm) -> Foreign` beside its `make`.
    """
    kind = plugin.Kind(label="baseline", package=_BASELINES, attribute="make", expected=None)
    for name in kind.names():
        module = kind.module(name)
        recognises = getattr(module, "recognises", None)
        if recognises is not None and recognises(arrays):
            return module.read_weights(arrays, batch_norm=batch_norm)
    return None
