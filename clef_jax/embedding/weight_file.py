"""From one file of weights to a model: which network it is, and what it was trained to see."""

import dataclasses
import pathlib

from jax.sharding import Mesh

from clef_jax.baselines import _ecgfounder as ecgfounder
from clef_jax.convert import known_files, torch_file, weights
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")

_ECGFOUNDER_NOTE = (
    "Windows are prepared for it as for CLEF (500 Hz, 10 s, 0.67-40 Hz, scaled); which filter "
    "ECGFounder learned with is not known here, so compare before you rely on it."
)


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedWeights:
    """What a file holds."""

    model: Embedder
    head: Head | None
    """The classifier on its embeddings that ECGFounder's files have; its classes are numbered."""
    notes: tuple[str, ...]
    """Sentences for the user."""


def read(path: pathlib.Path, mesh: Mesh, *, batch_norm: bool | None = None) -> LoadedWeights:
    """The encoder of a file, of the size that its shapes tell, with the paper's preprocessing.

    Args:
        batch_norm: as `ecgfounder.from_torch`, of a file with a classifier.

    Raises:
        UserError: it is no such file, cannot be read safely, or fits no encoder.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path} is no file of weights that is known: it should end in {', '.join(SUFFIXES)}."
        )
    known, found = known_files.recognise(path), torch_file.read(path)
    notes = [known.note] if known else []
    notes += found.notes
    classifier = None
    if ecgfounder.is_ecgfounder(found.arrays):
        encoder, classifier = ecgfounder.from_torch(found.arrays, batch_norm=batch_norm)
        notes.append(_ECGFOUNDER_NOTE)
    else:
        size, _ = torch_file.infer_size(found.arrays)
        encoder = weights.from_torch(found.arrays, size)
    model = encoder_lib.of_encoder(encoder, mesh, name=path.stem, recipe=Recipe())
    head = None
    if classifier is not None:
        layer = list(model.layers)[-1]
        head = Head.of_classes(classifier.weight, classifier.bias, layer=layer)
    return LoadedWeights(model, head, tuple(notes))
